/**
 * The types that the decoder, the renderer and the player exchange. Nothing is run here.
 *
 * World coordinates are the capture's own, right-handed. A camera looks along its +z axis, +x right, +y down.
 * Grids are stored in C order of (z, y, x, channel): the channel runs fastest.
 *
 * @module
 */

/**
 * Where the bytes of a file come from; see `sources.js`.
 *
 * @typedef {object} Source
 * @property {number} size bytes of the whole file
 * @property {(offset: number, length: number) => Promise<Uint8Array>} read that many bytes from `offset` on, fewer
 *   at the end of the file; the caller does not change them
 * @property {(begin: number, end: number, ahead?: boolean) => void} [want] a hint that these bytes will be read soon,
 *   so that one request can bring them; `ahead`: not at once, so that other requests may come first
 * @property {(begin: number, end: number) => boolean} [has] whether these bytes are there already
 * @property {string} [name] begins error messages
 */

/**
 * One basis level.
 *
 * @typedef {object} Level
 * @property {number[]} resolution nodes along x, y, z
 * @property {number} channels
 * @property {number} frequency in 1/256, as the file states it: 256 spans the longest side once
 */

/**
 * The shape of the field, the same for all frames.
 *
 * @typedef {object} Layout
 * @property {number[]} lower corner of the bounds with the smallest x, y, z, world units
 * @property {number} cell edge of an occupancy cell within the bounds, world units
 * @property {number[]} occupancy cells along x, y, z, those of the shell included
 * @property {number[]} coefficients nodes of the coefficient grid along x, y, z
 * @property {Level[]} levels the basis levels
 * @property {number} projectionHidden width of the hidden layer of the projection MLP
 * @property {number} appearance its outputs besides the density
 * @property {number} colourHidden width of the hidden layer of the colour MLP
 * @property {number} viewFrequencies octaves of the encoded direction
 * @property {number} stepsPerSide samples of a ray along the longest side
 * @property {number} motionBlock edge of a block of the motion lattice in cells; 0: no frame has motion
 * @property {number[]} shell cells around the bounds along x, y, z on either side
 * @property {number} near distance from the camera along a ray at which samples begin, world units
 */

/**
 * One camera of the capture.
 *
 * @typedef {object} Camera
 * @property {string} name
 * @property {number} width pixels
 * @property {number} height pixels
 * @property {number} fx focal length, pixels
 * @property {number} fy
 * @property {number} cx principal point, pixels from the upper left corner
 * @property {number} cy
 * @property {number[]} rotation nine numbers, row by row: camera axes to world axes
 * @property {number[]} position centre, world units
 * @property {number[]} distortion k1, k2, p1, p2 as in OpenCV
 * @property {"train" | "test"} split
 */

/**
 * How a camera shows colours: `gain * colour + offset`, for red, green and blue.
 *
 * @typedef {object} ColourMap
 * @property {number[]} gain
 * @property {number[]} offset
 * @property {boolean} backdrop whether this holds for the background too
 */

/**
 * The sequence header.
 *
 * @typedef {object} Header
 * @property {Layout} layout
 * @property {number[]} background sRGB in 0..1
 * @property {number} fps frames per second
 * @property {number[]} fpsRatio the same as numerator and denominator
 * @property {number} frameCount
 * @property {number} duration seconds
 * @property {number} firstFrame index of frame 0 in the capture
 * @property {number} downscale factor by which the capture's pictures were reduced
 * @property {Camera[]} cameras as they stand in the header: at frame 0
 * @property {number} rotationBits units of cameras that move
 * @property {number} positionBits
 * @property {Record<string, any>} settings the encoder's settings
 * @property {string} library what wrote the file
 */

/**
 * Where a frame's chunk is.
 *
 * @typedef {object} FrameEntry
 * @property {number} number
 * @property {boolean} key
 * @property {number} group number of its group
 * @property {number} offset of its chunk in the file
 * @property {number} bytes of its chunk, framing included
 */

/**
 * Where a run of Opus packets is.
 *
 * @typedef {object} SoundEntry
 * @property {number} number of its first packet within the file
 * @property {number} offset of its chunk in the file
 * @property {number} bytes of its chunk, framing included
 */

/**
 * A run of Opus packets of 20 ms.
 *
 * @typedef {object} SoundRun
 * @property {number} number of the first packet within the file
 * @property {number} channels 1 or 2
 * @property {number} skip samples of what the packets of the file decode to that come before the first frame
 * @property {Uint8Array[]} packets
 */

/**
 * Where a group's chunks are.
 *
 * @typedef {object} GroupEntry
 * @property {number} number
 * @property {number} firstFrame
 * @property {number} lastFrame
 * @property {number} offset of its first chunk in the file
 * @property {number} bytes of all its chunks, those of its frames included
 * @property {number} chunkBytes of the chunk with its parameters alone
 */

/**
 * The parameters that the frames of a group share.
 *
 * @typedef {object} Group
 * @property {number} number
 * @property {Float32Array} steps quantisation step of each grid
 * @property {Float32Array[]} mlp the MLP tensors in the order of the file, dequantised
 * @property {number[][]} mlpShapes their shapes
 * @property {ColourMap[]} colours how each camera of the header shows colours; empty: as they are
 * @property {import("./colours.js").CodedMaps | null} coded the same in integers
 * @property {Error | null} damage why the colours are not known, where a chunk that may have them is damaged
 */

/**
 * A decoded frame. Its arrays belong to the decoder, which predicts the next frame from them: read them, do not change
 * or transfer them. Frames may share arrays.
 *
 * @typedef {object} Frame
 * @property {number} number
 * @property {boolean} key
 * @property {Group} group the same object for all frames of a group
 * @property {Uint8Array} occupancy 0 or 1 per cell, in C order of (z, y, x)
 * @property {Int32Array[]} symbols per grid, in C order of (z, y, x, channel); the coefficient grid first
 * @property {Camera[]} cameras of this frame; the same array as long as none moves
 * @property {import("./moving_cameras.js").CameraState[]} track the same in integers; empty where the format has none
 */

/**
 * What `openFile` takes besides the source.
 *
 * @typedef {object} OpenOptions
 * @property {number} [memoryLimit] bytes that decoding a frame may take
 */

/**
 * What `File.decode` takes besides the index.
 *
 * @typedef {object} DecodeOptions
 * @property {Frame | null} [reuse] a frame that the caller no longer needs: its memory may be used for the new one
 */

/**
 * An open file.
 *
 * @typedef {object} File
 * @property {number} version of the format
 * @property {Header} header
 * @property {FrameEntry[]} frames
 * @property {GroupEntry[]} groups
 * @property {SoundEntry[]} sounds runs of sound; empty for a file without
 * @property {boolean} complete whether the file has a valid index
 * @property {(index: number, options?: DecodeOptions) => Promise<Frame>} decode decodes a frame, from its key frame on
 *   or from the frame that was decoded last where that is nearer
 * @property {(index: number) => Promise<SoundRun>} readSound a run of sound, by its place in `sounds`
 * @property {() => void} close
 */

export {};
