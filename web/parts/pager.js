// From one page of a list to the next and back. `page`: from 0; `of`: how many there are, where that is known.
import { html } from '../html.js'

export function Pager({ label, page, of, hasMore, onTurn }) {
  if (page === 0 && !hasMore) return null
  return html`<nav class="pager" aria-label=${label}>
    <button type="button" class="plain" disabled=${page === 0} onClick=${() => onTurn(page - 1)}>Previous</button>
    <span class="muted">Page ${page + 1}${of && ` of ${of}`}</span>
    <button type="button" class="plain" disabled=${!hasMore} onClick=${() => onTurn(page + 1)}>Next</button>
  </nav>`
}

// Of a list whose pages begin after the last row of the one before: `ends`, those rows, are what is turned.
export const turned = (ends, to, last) => (to < ends.length ? ends.slice(0, to) : [...ends, last])
