/**
 * Camera paths: views that were recorded, as the JSON that `tvvc render --path` takes.
 *
 * @module
 */

/** The document of key cameras, with OpenGL axes as `transforms.json` has them. */
export function pathDocument(cameras, closed = false) {
  const keys = cameras.map(({ width, height, fx, fy, cx, cy, rotation, position, distortion }) => {
    const [k1, k2, p1, p2] = distortion;
    const bent = distortion.some((k) => k !== 0) ? { k1, k2, p1, p2 } : {};
    const rows = [0, 1, 2].map((i) => [
      rotation[3 * i],
      -rotation[3 * i + 1],
      -rotation[3 * i + 2],
      position[i],
    ]);
    return { w: width, h: height, fl_x: fx, fl_y: fy, cx, cy, ...bent, transform_matrix: [...rows, [0, 0, 0, 1]] };
  });
  return { closed, cameras: keys };
}

/** Hands the user a file. */
export function saveText(name, text) {
  const link = document.createElement("a");
  link.href = URL.createObjectURL(new Blob([text], { type: "application/json" }));
  link.download = name;
  link.click();
  setTimeout(() => URL.revokeObjectURL(link.href), 10000);
}
