// A switch that stands at once where somebody put it, and afterwards where it is stored.
import { html, useState } from '../html.js'

// `onTurn(isOn)`: until it has come to its end, and what is stored has been looked at again, the switch stands as it was put.
export function Switch({ label, isOn, isBusy, onTurn }) {
  const [wanted, want] = useState(null)
  const turn = async (event) => {
    want(event.target.checked)
    await onTurn(event.target.checked)
    want(null)
  }
  return html`<label class="check"><input type="checkbox" checked=${wanted ?? isOn} disabled=${isBusy} onChange=${turn} />${label}</label>`
}
