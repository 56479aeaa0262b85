// Tables for spreadsheets (RFC 4180), in which no cell is taken for a formula.
const FORMULAS = '=@-\t\n\uff1d\uff20\uff0d\uff0b' // the last four as East Asian keyboards write them
const NUMBER = /^\+[\d\s().-]+$/

// What a spreadsheet would take for a formula (OWASP, "CSV Injection") gets an apostrophe; a phone number is none.
// The exports of appointments do the same (worker/sources/lines.py).
function harmless(value) {
  const text = String(value ?? '')
    .replaceAll('\0', '')
    .replace(/\r\n?/g, '\n')
  const begins = text.replace(/^[ \u00a0]+/, '').charAt(0)
  const isFormula = begins && (FORMULAS.includes(begins) || (begins === '+' && !NUMBER.test(text)))
  return isFormula ? `'${text}` : text
}

const cell = (value) => {
  const text = harmless(value)
  return /[",\n]/.test(text) ? `"${text.replaceAll('"', '""')}"` : text
}

export const line = (cells) => `${cells.map(cell).join(',')}\r\n`

// Offers it to the browser as a file. The mark at its beginning tells Excel that it is UTF-8.
export function download(name, lines) {
  const link = document.createElement('a')
  link.href = URL.createObjectURL(new Blob(['\ufeff', ...lines], { type: 'text/csv;charset=utf-8' }))
  link.download = name
  link.click()
  setTimeout(() => URL.revokeObjectURL(link.href), 60_000)
}
