// Draws .glb files by three.js's own loader, for tests of exports.
import * as THREE from "three";
import { GLTFLoader } from "/npm/three/examples/jsm/loaders/GLTFLoader.js";

export { bytesOf } from "/tests/scene.js";

/** A file, loaded. */
export async function load(url) {
  const gltf = await new GLTFLoader().loadAsync(url);
  return { gltf, scene: new THREE.Scene().add(gltf.scene), mixer: new THREE.AnimationMixer(gltf.scene) };
}

/** What the first camera of another file sees of it on white, at a time of its animation. */
export async function drawn({ scene, gltf, mixer }, cameras, side, time) {
  const renderer = new THREE.WebGLRenderer({ antialias: true, preserveDrawingBuffer: true });
  renderer.setSize(side, side, false);
  scene.background = new THREE.Color(1, 1, 1);
  if (gltf.animations.length) {
    mixer.clipAction(gltf.animations[0]).play();
    mixer.setTime(time);
  }
  cameras.gltf.scene.updateMatrixWorld(true);
  renderer.render(scene, cameras.gltf.cameras[0]);
  const { bytesOf } = await import("/tests/scene.js");
  const found = bytesOf(renderer, side, side);
  renderer.dispose();
  const kinds = new Set();
  scene.traverse((node) => node.isMesh && kinds.add(node.material.type));
  return { ...found, materials: [...kinds] };
}
