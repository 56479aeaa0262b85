// The form of one message, for a new one and for an edit.
import { useDeed } from '../client.js'
import { html } from '../html.js'
import { Field, Note, useForm } from './form.js'
import { isOver, newTimes, Repetition, Times, timeColumns, timesOf } from './times.js'

export const KINDS = {
  text: 'Text',
  image: 'Picture',
  video: 'Video',
  audio: 'Audio',
  document: 'Document',
  media: 'File',
}

export function newValues(connections) {
  return {
    connection_id: connections.length === 1 ? connections[0].id : '',
    type: 'text',
    message: '',
    media_url: '',
    caption: '',
    ...newTimes(),
  }
}

export function valuesOf(row) {
  return {
    connection_id: row.connection_id,
    type: ['', 'chat'].includes(row.type) ? 'text' : row.type,
    message: row.message,
    media_url: row.media_url ?? '',
    caption: row.caption ?? '',
    ...timesOf(row),
  }
}

// The columns that these values mean.
export function contentOf(values, before) {
  const isText = values.type === 'text'
  const kept = before && valuesOf(before)
  return {
    connection_id: values.connection_id,
    type: before && kept.type === values.type ? before.type : values.type,
    message: isText || before?.message ? values.message : '',
    media_url: isText ? null : values.media_url.trim() || null,
    caption: isText ? null : values.caption || null,
    ...timeColumns(values, before),
  }
}

// `onSave(values)` writes them; `onChange(values)` hears of every change.
export function MessageForm({ connections, initial, label, onSave, onChange, onCancel, mayBePast = false }) {
  const { values, set, bind } = useForm(initial, onChange)
  const deed = useDeed()
  const isPast = isOver(values)
  const submit = (event) => {
    event.preventDefault()
    if (!isPast || mayBePast) deed.run(() => onSave(values))
  }
  return html`<form class="stack" onSubmit=${submit}>
    <${ConnectionField} bind=${bind} connections=${connections} chosen=${values.connection_id} />
    <${KindField} bind=${bind} kind=${values.type} />
    ${values.type === 'text' ? html`<${Field} label="Message"><textarea ...${bind('message')} rows="4" dir="auto" required></textarea><//>` : html`<${Attachment} bind=${bind} />`}
    <${Times} bind=${bind} values=${values} isPast=${isPast && !mayBePast} />
    <${Repetition} bind=${bind} values=${values} set=${set} />
    <${Note} of=${deed} />
    <div class="actions">
      <button class="primary" disabled=${deed.isBusy}>${deed.isBusy ? 'Saving …' : label}</button>
      ${onCancel && html`<button type="button" class="plain" onClick=${onCancel}>Back</button>`}
    </div>
  </form>`
}

// One that is not in the list (deleted, somebody else's) stays chosen until another is.
export const ConnectionField = ({ bind, connections, chosen }) =>
  html`<${Field} label="WhatsApp connection">
    <select ...${bind('connection_id')} required>
      ${chosen === '' && html`<option value="">Choose one</option>`}
      ${connections.map((one) => html`<option value=${one.id}>${one.name ?? one.id}${one.phone_number && ` (${one.phone_number})`}</option>`)}
      ${chosen && !connections.some((one) => one.id === chosen) && html`<option value=${chosen}>${chosen}</option>`}
    </select>
  <//>`

export const KindField = ({ bind, kind }) =>
  html`<${Field} label="Kind">
    <select ...${bind('type')}>
      ${[...new Set([...Object.keys(KINDS), kind])].map((one) => html`<option value=${one}>${KINDS[one] ?? one}</option>`)}
    </select>
  <//>`

// `caption`: the name of the value that is sent with the file.
export const Attachment = ({ bind, caption = 'caption' }) =>
  html`<${Field} label="Link to the file" hint="https://…, reachable from the Internet">
      <input ...${bind('media_url')} type="url" required />
    <//>
    <${Field} label="Caption"><textarea ...${bind(caption)} rows="2" dir="auto"></textarea><//>`
