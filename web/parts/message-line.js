// One message in a list: when, what, how it stands, and what its author may do with it.
import { useDeed } from '../client.js'
import { html } from '../html.js'
import { cancel, remove, sendAgain } from './deeds.js'
import { Confirm, Note } from './form.js'
import { inWords } from './patterns.js'
import { Reason, Status, WAITING } from './status.js'
import { When } from './time.js'
import { distance, hereZone, isZone, wallOf } from './zones.js'

export const zoneOf = (row) => (isZone(row.timezone) ? row.timezone : hereZone)

// `who`: the recipient where the list is of several; `via`: the connection's name.
export function MessageLine({ row, who, via, onEdit, onChange, children }) {
  const deed = useDeed()
  const run = (what, done) => deed.run(() => what(row), done).then((went) => went && onChange())
  const zone = zoneOf(row)
  return html`<article class="message" aria-label=${`Message ${row.status}`}>
    <div class="message-head">
      <${Status} row=${row} />
      <${When} at=${row.scheduled_at} zone=${zone} />
      ${row.status === 'pending' && html`<span class="muted">${distance(row.scheduled_at)}</span>`}
      ${row.is_recurring && row.recurrence_pattern && html`<span class="muted">↻ ${inWords(row.recurrence_pattern, wallOf(row.scheduled_at, zone))}</span>`}
    </div>
    <div class="message-body">
      <p class="who-line">${who && html`<b><bdi>${who}</bdi></b> `}${via && html`<span class="muted">by <bdi>${via}</bdi></span>`}</p>
      <${Content} row=${row} />
      ${row.source_id && html`<p class="muted"><${Source} row=${row} /></p>`}
      <${Reason} row=${row} />
      ${row.sent_at && row.status === 'sent' && html`<p class="muted">Sent <${When} at=${row.sent_at} zone=${zone} /></p>`}
      ${children}
      <${Note} of=${deed} />
    </div>
    <div class="message-actions">
      ${
        WAITING.includes(row.status) &&
        html`${!row.source_id && html`<button type="button" class="plain" onClick=${() => onEdit(row)}>Edit</button>`}
        <button type="button" class="plain" disabled=${deed.isBusy} onClick=${() => run(cancel, 'Cancelled.')}>Cancel</button>`
      }
      ${
        ['failed', 'cancelled'].includes(row.status) &&
        html`${!row.source_id && html`<button type="button" class="plain" onClick=${() => onEdit(row)}>Edit</button>`}
        <button type="button" class="plain" disabled=${deed.isBusy} onClick=${() => run(sendAgain, 'It will be sent again.')}>Retry</button>`
      }
      <${Confirm} label="Delete" question="Delete this message?" yes="Yes, delete" isBusy=${deed.isBusy} onYes=${() => run(remove)} />
    </div>
  </article>`
}

// What a campaign or an appointment has written is changed there.
const Source = ({ row }) =>
  row.priority === 1
    ? html`Part of <a href=${`#/campaigns/of/run/${row.source_id}`}>a campaign</a>`
    : html`Part of an appointment`

function Content({ row }) {
  const isFile = !['text', 'chat', ''].includes(row.type)
  const text = isFile ? row.caption || row.message : row.message
  return html`${isFile && html`<p class="muted">${row.type}${row.media_url && html`: <a href=${linkOf(row.media_url)} target="_blank" rel="noreferrer">${row.media_url.split('/').pop().split('?')[0] || row.media_url}</a>`}</p>`}
    ${text && html`<p class="text" dir="auto">${text}</p>`}`
}

// What an author wrote may be any text: only a web address becomes a link.
const linkOf = (text) => (/^https?:\/\//i.test(text) ? text : undefined)
