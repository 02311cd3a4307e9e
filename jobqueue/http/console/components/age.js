/** Ages: the time since an instant. They stand with the instants. */
export {Age} from "./instant.js";
