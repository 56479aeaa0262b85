// A modal dialog: the browser keeps the focus in it, and Escape closes it.
import { html, useLayoutEffect, useRef } from '../html.js'

export function Dialog({ title, onClose, children }) {
  const dialog = useRef()
  useLayoutEffect(() => {
    const opener = document.activeElement
    dialog.current.showModal()
    dialog.current.querySelector('h2').focus() // its name is read, and no button seems chosen
    return () => opener?.focus?.()
  }, [])
  return html`<dialog ref=${dialog} aria-labelledby="dialog-title" onClose=${onClose}>
    <div class="dialog-head">
      <h2 id="dialog-title" tabindex="-1">${title}</h2>
      <button type="button" class="plain icon" aria-label="Close" onClick=${() => dialog.current.close()}>✕</button>
    </div>
    ${children}
  </dialog>`
}

// Tabs inside of it: [{ key, label }]. The arrow keys go from one to the other.
export function Tabs({ label, tabs, at, onChoose }) {
  const list = useRef()
  const turn = (event) => {
    const step = { ArrowRight: 1, ArrowLeft: -1 }[event.key]
    if (!step) return
    const next = tabs[(tabs.findIndex((tab) => tab.key === at) + step + tabs.length) % tabs.length]
    onChoose(next.key)
    list.current.querySelector(`#tab-${next.key}`).focus()
  }
  return html`<div class="tabs" role="tablist" aria-label=${label} ref=${list} onKeyDown=${turn}>
    ${tabs.map(
      (tab) =>
        html`<button
          type="button"
          role="tab"
          id=${`tab-${tab.key}`}
          aria-selected=${String(tab.key === at)}
          aria-controls="tab-panel"
          tabindex=${tab.key === at ? 0 : -1}
          onClick=${() => onChoose(tab.key)}
        >
          ${tab.label}
        </button>`,
    )}
  </div>`
}
