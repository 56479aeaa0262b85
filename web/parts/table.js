// Rows in columns: [{ title, cell(row), className }]. While nothing is known yet it says so, and so it does where there is nothing.
import { html } from '../html.js'

export function Table({ label, columns, rows, keyOf = (row) => row.id, empty }) {
  if (rows.length === 0) return html`<div class="card empty">${empty}</div>`
  return html`<table class="list" aria-label=${label}>
    <thead>
      <tr>
        ${columns.map(({ title, className }) => (title ? html`<th scope="col" class=${className}>${title}</th>` : html`<td></td>`))}
      </tr>
    </thead>
    <tbody>
      ${rows.map(
        (row) =>
          html`<tr key=${keyOf(row)}>
            ${columns.map(({ cell, className }) => html`<td class=${className}>${cell(row)}</td>`)}
          </tr>`,
      )}
    </tbody>
  </table>`
}

// What stands in the place of data that are not there: on their way, or refused.
export function Waiting({ live }) {
  if (live.data !== undefined) return null
  if (live.fault) return html`<p class="fault" role="alert">${live.fault.message}</p>`
  return html`<p class="muted" role="status">Loading …</p>`
}
