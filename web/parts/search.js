// A field to search in; it looks a moment after the last letter.
import { html, useEffect, useRef, useState } from '../html.js'

export function Search({ label, hint, onSearch }) {
  const [words, set] = useState('')
  const told = useRef('')
  useEffect(() => {
    if (words === told.current) return
    const timer = setTimeout(() => {
      told.current = words
      onSearch(words)
    }, 250)
    return () => clearTimeout(timer)
  }, [words])
  return html`<input type="search" aria-label=${label} placeholder=${hint} dir="auto" value=${words} onInput=${(event) => set(event.target.value)} />`
}

// A pattern for `ilike` in an `or`: what PostgREST would read as its own becomes "any one character". Empty: everything.
export const patternOf = (search) => search.trim().replace(/[%*\\,()"]/g, '_')
