// A run as a table for spreadsheets: each recipient, and what became of them.
import { useDeed } from '../client.js'
import { html, useState } from '../html.js'
import { download, line } from './csv.js'
import { Note } from './form.js'
import { zoneOf } from './message-line.js'
import { latestMessages, recipientsAfter } from './run-recipients.js'
import { wallOf } from './zones.js'

const PORTION = 1000 // a server may give no more rows
const HEAD = ['position', 'name', 'number', 'status', 'reason', 'sent_at', 'delivery', 'text']

const statusOf = (person, message, run) =>
  message?.status ?? (person.fault ? 'skipped' : run.finished_at ? 'deleted' : 'pending')

const cells = (person, message, run) => [
  person.position,
  person.name,
  person.address,
  statusOf(person, message, run),
  person.fault ?? message?.error ?? message?.waiting_reason,
  message?.sent_at,
  message?.delivery_status,
  message && (message.type === 'text' ? message.message : message.caption || message.message),
]

// `tell` hears after each portion how many there are.
async function linesOf(run, tell) {
  const lines = [line(HEAD)]
  for (let position = 0; ; ) {
    const people = await recipientsAfter(run, position, PORTION)
    if (!people.length) return lines
    const written = people.filter((one) => !one.fault).map((one) => one.position)
    const messages = await latestMessages(run, written)
    for (const one of people) lines.push(line(cells(one, messages.get(one.position), run)))
    position = people.at(-1).position
    tell(lines.length - 1)
  }
}

export function Download({ run, campaign }) {
  const deed = useDeed()
  const [done, tell] = useState(0)
  const save = () =>
    deed.run(async () => {
      tell(0)
      const day = wallOf(run.occurrence_at, zoneOf(campaign)).slice(0, 10) // as in its heading
      const name = `${campaign.name} ${day}`.replace(/[^\p{L}\p{N} ._-]/gu, '_')
      download(`${name}.csv`, await linesOf(run, tell))
    })
  return html`<button type="button" disabled=${deed.isBusy || run.total === null} onClick=${save}>Download as CSV</button>
    <span class="muted small" role="status">${deed.isBusy && `${done.toLocaleString('en')} ${run.total === null ? '' : `of ${run.total.toLocaleString('en')} `}…`}</span>
    <${Note} of=${deed} />`
}
