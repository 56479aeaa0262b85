// What forms are made of.
import { cloneElement, html, useRef, useState } from '../html.js'

// The values of a form: `bind(name)` are the properties of a control, `set` changes several, `setIn(name)` several of a value
// that is itself an object. `onChange` hears of each change.
export function useForm(initial, onChange) {
  const [values, setValues] = useState(initial)
  // The values of now, not of when `set` was handed out: an answer that comes late takes back nothing typed meanwhile.
  const latest = useRef(initial)
  const set = (changes) => {
    latest.current = { ...latest.current, ...changes }
    setValues(latest.current)
    onChange?.(latest.current)
  }
  const setIn = (name) => (changes) => set({ [name]: { ...latest.current[name], ...changes } })
  const bind = (name) => ({ name, value: values[name], onInput: (event) => set({ [name]: event.target.value }) })
  return { values, set, setIn, bind }
}

// A control with its label above and, where given, a hint below. The label names it, the hint is read after it.
export function Field({ label, hint, children: control }) {
  const [id] = useState(() => `field-${crypto.randomUUID()}`)
  const described = [hint && `${id}-hint`, control.props['aria-describedby']].filter(Boolean).join(' ') || undefined
  return html`<div class="field">
    <label for=${id}>${label}</label>
    ${cloneElement(control, { id, 'aria-describedby': described })}
    ${hint && html`<small class="muted" id=${`${id}-hint`}>${hint}</small>`}
  </div>`
}

// What came of a deed (useDeed): read aloud when it changes.
export const Note = ({ of }) =>
  html`<div class="note">
    <div role="alert">${of.fault && html`<p class="fault">${of.fault.message}</p>`}</div>
    <div role="status">${of.done && html`<p class="done">${of.done}</p>`}</div>
  </div>`

// The same function each time, so that a button is focused when it appears and not at each look that its page takes again:
// by then somebody may be typing, or stand on the other button.
const focus = (button) => button?.focus()

// A button for what cannot be undone: asks once more in its own place.
export function Confirm({ label, question, yes, onYes, isBusy }) {
  const [isAsking, ask] = useState(false)
  if (!isAsking)
    return html`<button type="button" class="plain" disabled=${isBusy} onClick=${() => ask(true)}>${label}</button>`
  const answer = (deed) => () => {
    ask(false)
    deed?.()
  }
  return html`<span class="confirm" role="group" aria-label=${question}>
    <span>${question}</span>
    <button type="button" class="danger" ref=${focus} onClick=${answer(onYes)}>${yes}</button>
    <button type="button" class="plain" onClick=${answer()}>No</button>
  </span>`
}
