// A switch that stands at once where somebody put it, and goes back where that is refused.
import { html, useEffect, useState } from '../html.js'

// `onTurn(isOn)` returns whether it went well.
export function Switch({ label, isOn, isBusy, onTurn }) {
  const [shown, show] = useState(isOn)
  useEffect(() => show(isOn), [isOn])
  const turn = async (event) => {
    const next = event.target.checked
    show(next)
    if (!(await onTurn(next))) show(isOn)
  }
  return html`<label class="check"><input type="checkbox" checked=${shown} disabled=${isBusy} onChange=${turn} />${label}</label>`
}
