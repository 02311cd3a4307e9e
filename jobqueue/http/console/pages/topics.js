/** The page Topics: who gets what is published, a form that publishes, and a live tail of a pattern. */

import {Awaited} from "../components/awaited.js";
import {Empty} from "../components/empty.js";
import {countText} from "../components/number.js";
import {PageHead} from "../components/page_head.js";
import {PublishForm} from "../components/publish_form.js";
import {Table} from "../components/table.js";
import {Text} from "../components/text.js";
import {TopicTail} from "../components/topic_tail.js";
import {usePolled} from "../data/polling.js";
import {isPattern, isTopic, LENGTH_MAX} from "../data/topics.js";
import {go, href} from "../shell/router.js";
import {useSession} from "../shell/session.js";
import {STRINGS} from "../strings.js";
import {html, useEffect, useState} from "../ui.js";

const S = STRINGS.topics;
const EVERY_MS = 2000;

export const title = STRINGS.pages.topics;

export default function Page({query}) {
  const {document, problem} = usePolled("v1/topics", {everyMs: EVERY_MS});
  const {mayChange, store} = useSession();
  const subscribers = document?.subscribers ?? [];
  const topics = [...new Set(subscribers.flatMap(({patterns}) => patterns).filter(isTopic))];
  if (store) return html`<${PageHead} title=${title} /><${Empty}>${STRINGS.shell.notInStore}<//>`;
  return html`
    <${PageHead} title=${title}>${document && html`<span class="muted">${S.total(subscribers.length)}</span>`}<//>
    <${Awaited} document=${document} problem=${problem} />
    ${document && html`<${Counts} topics=${document} />`}
    ${document && html`
      <${Table} label=${S.subscribers} columns=${COLUMNS} rows=${subscribers} rowKey=${({name}) => name} empty=${html`<${NoSubscribers} />`} />`}
    <div class="columns panels">
      ${mayChange("submit") && html`<${PublishForm} topics=${topics} />`}
      <${Listening} pattern=${query.pattern ?? ""} listeners=${document?.listeners ?? []} />
    </div>`;
}

function Counts({topics}) {
  const facts = [
    [S.publishedTotal, topics.published_total],
    [S.deliveredTotal, topics.delivered_total],
    [S.unheardTotal, topics.unheard_total],
    [S.streams, topics.listeners.reduce((sum, {count}) => sum + count, 0)],
  ];
  return html`<section class="card" aria-label=${S.counts}>
    <dl class="tiles">${facts.map(([term, count]) => html`<div key=${term}><dt>${term}</dt><dd>${countText(count)}</dd></div>`)}</dl>
  </section>`;
}

const COLUMNS = [
  {key: "patterns", title: S.patterns, render: ({patterns}) => html`<span class="row">${patterns.map((each) => html`<${Pattern} key=${each} pattern=${each} />`)}</span>`},
  {key: "name", title: S.subscriber, render: ({name, type}) => html`<a href=${href("type", {name: type})}><${Text} value=${name} max=${60} /></a>`},
  {key: "queue", title: S.queue, render: ({queue}) => html`<a href=${href("queue", {name: queue})}><${Text} value=${queue} max=${40} /></a>`},
  {key: "delivered_total", title: S.delivered, align: "end", render: (row) => countText(row.delivered_total)},
];

function Pattern({pattern}) {
  return html`<a href=${href("topics", {}, {pattern})} aria-label=${S.listenTo(pattern)}><code>${pattern}</code></a>`;
}

function NoSubscribers() {
  return html`<p>${S.none}</p><p><code>${S.noneExample}</code></p>`;
}

function Listening({pattern, listeners}) {
  const [text, setText] = useState(pattern);
  useEffect(() => setText(pattern), [pattern]);
  const isRight = isPattern(text);
  const listen = (event) => {
    event.preventDefault();
    if (isRight) go("topics", {}, {pattern: text}, {replace: true});
  };
  const others = listeners.filter(({count}) => count > 0);
  return html`
    <section class="card stack" aria-labelledby="topic-listen">
      <h2 id="topic-listen">${S.listen}</h2>
      <form class="field" onSubmit=${listen} noValidate>
        <label for="topic-pattern">${S.pattern}</label>
        <div class="row">
          <input id="topic-pattern" type="text" class="mono grow" data-search maxlength=${LENGTH_MAX} value=${text} placeholder="order.>" autocomplete="off" spellcheck=${false}
            aria-invalid=${text && !isRight ? "true" : undefined} aria-describedby="topic-pattern-hint" onInput=${(event) => setText(event.target.value.trim())} />
          <button type="submit" class="button" disabled=${!isRight || text === pattern}>${S.listenIt}</button>
          <button type="button" class="button" disabled=${!pattern} onClick=${() => go("topics", {}, {}, {replace: true})}>${S.stop}</button>
        </div>
        <span id="topic-pattern-hint" class=${text && !isRight ? "fault" : "hint"}>${S.patternHint}</span>
      </form>
      ${isPattern(pattern) ? html`<${TopicTail} key=${pattern} pattern=${pattern} />` : html`<${Empty}>${S.listenFirst}<//>`}
      ${others.length > 0 && html`<p class="muted">${S.listeners} ${others.map(({pattern: each, count}) => html`<span key=${each} class="nowrap"><code>${each}</code> (${countText(count)})</span> `)}</p>`}
    </section>`;
}
