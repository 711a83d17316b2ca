// A scene of three.js with a file in it, for tests.
import * as THREE from "/npm/three/build/three.module.js";
import { openVolume } from "/web/three/volume.js";

/** A scene with a volume, and a renderer of square pictures. */
export async function begin(url, side) {
  const renderer = new THREE.WebGLRenderer({ antialias: false, preserveDrawingBuffer: true });
  renderer.setSize(side, side, false);
  document.body.replaceChildren(renderer.domElement);
  const volume = await openVolume(THREE, { url });
  const scene = new THREE.Scene();
  scene.background = new THREE.Color(1, 1, 1);
  scene.add(volume);
  const camera = new THREE.PerspectiveCamera(40, 1, 0.05, 50);
  return { THREE, renderer, volume, scene, camera, side };
}

/** A cube of one colour, in the coordinates of the capture. */
export function addCube(stage, centre, side, colour) {
  const cube = new THREE.Mesh(new THREE.BoxGeometry(side, side, side), new THREE.MeshBasicMaterial({ color: colour }));
  cube.position.set(...centre);
  stage.volume.capture.add(cube);
  return cube;
}

/** RGBA bytes of the canvas in base64, from the upper left pixel on. */
export function picture({ renderer, scene, camera, side }) {
  renderer.render(scene, camera);
  return bytesOf(renderer, side, side);
}

export function bytesOf(renderer, width, height) {
  const gl = renderer.getContext();
  const pixels = new Uint8Array(4 * width * height);
  gl.readPixels(0, 0, width, height, gl.RGBA, gl.UNSIGNED_BYTE, pixels);
  let text = "";
  for (let row = height - 1; row >= 0; row--) {
    text += String.fromCharCode(...pixels.subarray(4 * width * row, 4 * width * (row + 1)));
  }
  return { pixels: btoa(text) };
}

/** Plays from the start to the end at a speed, and tells which frames were shown. */
export function played(stage, rate) {
  const { volume, renderer, scene, camera } = stage;
  return new Promise((resolve) => {
    const seen = [volume.frame];
    volume.addEventListener("frame", ({ number }) => seen.push(number));
    volume.playbackRate = rate;
    volume.play();
    renderer.setAnimationLoop(() => {
      renderer.render(scene, camera);
      if (volume.playing || volume.frame < volume.clock.frames - 1) return;
      renderer.setAnimationLoop(null);
      resolve(seen);
    });
  });
}

/**
 * Shows the scene in the emulator of a headset that stands at a place, and tells what it shows: the picture of both
 * eyes, and for each the part of the picture, the pose in the capture's coordinates, and the projection.
 */
export async function inHeadset(stage, place) {
  const { renderer, scene, camera, volume } = stage;
  const { XRDevice, metaQuest3 } = await import("/npm/iwer/build/iwer.module.js");
  const device = new XRDevice(metaQuest3);
  device.installRuntime({ forceInstall: true });
  device.stereoEnabled = true;
  device.position.set(...place);
  renderer.xr.enabled = true;
  renderer.xr.setReferenceSpaceType("local-floor");
  const session = await navigator.xr.requestSession("immersive-vr", { optionalFeatures: ["local-floor"] });
  await renderer.xr.setSession(session);
  const found = await new Promise((resolve) => {
    let drawn = 0;
    renderer.setAnimationLoop(() => {
      renderer.render(scene, camera);
      if (++drawn < 3) return;
      const gl = renderer.getContext();
      const { width, height } = gl.canvas;
      const toCapture = volume.capture.matrixWorld.clone().invert();
      const eyes = renderer.xr.getCamera().cameras.map((eye) => ({
        part: eye.viewport.toArray(),
        pose: toCapture.clone().multiply(eye.matrixWorld).elements,
        projection: eye.projectionMatrix.elements,
      }));
      resolve({ width, height, eyes, ...bytesOf(renderer, width, height) });
    });
  });
  renderer.setAnimationLoop(null);
  await session.end();
  device.uninstallRuntime();
  return found;
}
