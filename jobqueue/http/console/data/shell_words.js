/** Words of a shell: texts in quotes, in which nothing is a command and nothing is invisible. */

const INVISIBLE = /[\u0000-\u001f\u007f-\u00a0\u00ad\u061c\u200b-\u200f\u2028-\u202e\u2060-\u206f\ufeff\ufff9-\ufffb]/g;

/** Quote a text for sh, bash and zsh; one with invisible characters for bash and zsh alone. */
export function shellQuoted(text) {
  if (/^[\w@%+=:,./-]+$/.test(text)) return text;
  if (text.search(INVISIBLE) < 0) return `'${text.replaceAll("'", "'\\''")}'`;
  const code = (character) => `\\u${character.charCodeAt(0).toString(16).padStart(4, "0")}`;
  return `$'${text.replace(/[\\']/g, "\\$&").replace(INVISIBLE, code)}'`;
}
