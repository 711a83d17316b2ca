/**
 * The errors of the decoder. Messages are one line: what was expected, what was found.
 *
 *     TvvcError
 *     |-- ConfigError              what the caller asks for is out of range
 *     `-- StreamError              a .tvvc file cannot be used
 *         |-- NotATvvcFile         the magic number is missing
 *         |-- UnsupportedVersion   written by a newer version of the format
 *         |-- TruncatedStream      the file ends inside a chunk, or has no index
 *         |-- CorruptStream        a checksum, a limit or the order of chunks is violated
 *         |-- MemoryLimitExceeded  decoding would exceed the memory limit
 *         `-- SourceError          the bytes cannot be had: the network, the server, the disk
 *
 * @module
 */

const LONGEST_LINE = 1000;
const CONTROL = /[\x00-\x1f\x7f-\x9f\u2028\u2029\ud800-\udfff]/g;

/**
 * A message with control characters escaped, and without its middle if it is very long.
 *
 * @param {string} message
 * @returns {string}
 */
export function oneLine(message) {
  if (message.length > LONGEST_LINE) {
    message = `${message.slice(0, LONGEST_LINE - 305)} ... ${message.slice(-300)}`;
  }
  return message.replace(CONTROL, (found) => `\\x${found.charCodeAt(0).toString(16).padStart(2, "0")}`);
}

/** Base of all errors that the decoder throws on purpose. `name` is the name of its class. */
export class TvvcError extends Error {
  /** @param {string} message */
  constructor(message) {
    super(oneLine(message));
    this.name = new.target.name;
  }
}

/** What the caller asks for is out of range. */
export class ConfigError extends TvvcError {}

/** A .tvvc file cannot be used. */
export class StreamError extends TvvcError {}

/** The file does not start with the magic number of the format. */
export class NotATvvcFile extends StreamError {}

/** The file needs a newer decoder. */
export class UnsupportedVersion extends StreamError {}

/** The file ends before its last chunk does, or before its index. */
export class TruncatedStream extends StreamError {}

/** A checksum fails, a value is outside its limits, or chunks are missing or out of order. */
export class CorruptStream extends StreamError {}

/** Decoding would exceed the memory limit; nothing was allocated. */
export class MemoryLimitExceeded extends StreamError {}

/** The bytes cannot be had: the network, the server or the disk failed. */
export class SourceError extends StreamError {}

/** The classes by name, so that an error can be told across a worker's border. @type {Record<string, any>} */
export const CLASSES = {
  TvvcError,
  ConfigError,
  StreamError,
  NotATvvcFile,
  UnsupportedVersion,
  TruncatedStream,
  CorruptStream,
  MemoryLimitExceeded,
  SourceError,
};

/**
 * An error with the place where it was found; running out of memory as the error of that.
 *
 * @param {unknown} error
 * @param {string} name of the file
 * @param {string} place
 * @returns {unknown}
 */
export function told(error, name, place) {
  if (error instanceof CorruptStream && !error.message.includes(place)) {
    return new CorruptStream(`${name}: ${place}: ${error.message}`);
  }
  if (error instanceof RangeError && /alloc|array|length/i.test(error.message)) {
    return new MemoryLimitExceeded(`${name}: ${place} takes more memory than there is (${error.message})`);
  }
  return error;
}
