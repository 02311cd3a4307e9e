/** Where the API is mounted, and the console in it, as the page says: nothing is absolute. */

/** The URL above which all paths of the API are. */
export const MOUNT = new URL(document.querySelector("meta[name=mount]").content, document.baseURI);

/** The console's own folder, relative to the mount, such as `console/`. */
export const OWN_FOLDER = new URL(".", document.baseURI).pathname.slice(MOUNT.pathname.length);
