/** Downloads a whole file. @module */
import { SourceError } from "../decoder/errors.js";
import { memorySource } from "../decoder/sources.js";

export async function openSource(url, { progress = () => {} } = {}) {
  let response;
  try {
    response = await fetch(url);
  } catch (error) {
    throw new SourceError(`${url} cannot be loaded: ${error.message}`);
  }
  if (!response.ok) throw new SourceError(`${url} cannot be loaded: the server answers ${response.status}`);
  const size = Number(response.headers.get("Content-Length")) || 0;
  const parts = [];
  let loaded = 0;
  for (const reader = response.body.getReader(); ; ) {
    const { done, value } = await reader.read();
    if (done) break;
    parts.push(value);
    loaded += value.length;
    progress(loaded, size);
  }
  const bytes = new Uint8Array(loaded);
  let at = 0;
  for (const part of parts) {
    bytes.set(part, at);
    at += part.length;
  }
  return memorySource(bytes, url);
}
