/** Python tracebacks: their frames, and which of them are of the user's own code. */

const FRAME = /^\s*File "(.*)", line (\d+), in (.*)$/;
const FOREIGN = /[/\\](?:site-packages|dist-packages|lib[/\\]python\d[^/\\]*)[/\\]|^<|[/\\]jobqueue[/\\](?:runtime|handlers|core|backend)[/\\]/;

/**
 * Return the frames of a traceback, innermost last, and its last line.
 *
 * @returns {{frames: {file: string, line: number, name: string, code: string, own: boolean}[], last: string, cut: boolean}}
 *   `cut`: its beginning is missing.
 */
export function tracebackOf(text) {
  const lines = text.split("\n");
  const frames = [];
  for (const [at, line] of lines.entries()) {
    const match = FRAME.exec(line);
    if (!match) continue;
    const code = lines[at + 1] ?? "";
    const isCode = /^\s{4}/.test(code) && !FRAME.test(code);
    const [, file, number, name] = match;
    frames.push({file, line: Number(number), name, code: isCode ? code.trim() : "", own: !FOREIGN.test(file)});
  }
  return {frames, last: lines.findLast((line) => line.trim()) ?? "", cut: !/^\s*(?:Traceback|\+ Exception Group)/.test(text)};
}
