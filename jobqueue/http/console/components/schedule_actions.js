/** What can be done with a schedule: run it now, pause, resume, delete it; each after a confirmation, with a reason. */

import {useSession} from "../shell/session.js";
import {STRINGS} from "../strings.js";
import {html, useState} from "../ui.js";
import {ConfirmDialog} from "./action_dialog.js";
import {visibleText} from "./text.js";

const S = STRINGS.schedules;

/** The actions that a schedule has now. */
export function actionsOf({pause, source}) {
  return ["run", pause === null ? "pause" : "resume", ...(source === "api" ? ["delete"] : [])];
}

/** @param {object} props `schedule`: its document; `small`: buttons of a row; `onDone(action)`: after one took effect. */
export function ScheduleActions({schedule, small = false, onDone}) {
  const [asked, ask] = useState(null);
  const {mayChange} = useSession();
  if (!mayChange("operate")) return null;
  const name = visibleText(schedule.name, 60);
  const kind = (action) => `button ${small ? "small" : ""} ${action === "delete" ? "danger" : ""}`;
  return html`
    <span class=${small ? "row unbroken" : "row"}>
      ${actionsOf(schedule).map((action) => html`<button key=${action} type="button" class=${kind(action)}
        aria-label=${S.actions[action].title(name)} onClick=${() => ask(action)}>${S.actions[action].verb}</button>`)}
    </span>
    ${asked && html`<${ActionOfSchedule} schedule=${schedule} action=${asked} onDone=${onDone} onClose=${() => ask(null)} />`}`;
}

/** The dialog of one action. */
export function ActionOfSchedule({schedule, action, onDone, onClose}) {
  const {title, meaning, verb, done} = S.actions[action];
  const name = visibleText(schedule.name, 60);
  const path = `v1/schedules/${encodeURIComponent(schedule.name)}`;
  const request = action === "delete" ? ["DELETE", path] : ["POST", `${path}:${action}`];
  const close = () => {
    onClose();
    onDone?.(action);
  };
  return html`
    <${ConfirmDialog} title=${title(name)} sentence=${meaning(schedule)} verb=${verb} danger=${action === "delete"} request=${request}
      doneSentence=${(document) => done(name, document)} onDone=${close} onClose=${onClose} />`;
}
