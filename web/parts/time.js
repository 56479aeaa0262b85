// A time is never shown without its zone.
import { html } from '../html.js'
import { dateWords, hereZone, isZone, offsetWords, timeWords } from './zones.js'

// An instant in `zone` (the browser's where none is given). `time`: without the date.
export function When({ at, zone = hereZone, time = false }) {
  const shown = isZone(zone) ? zone : hereZone
  const words = time ? timeWords(at, shown) : `${dateWords(at, shown)}, ${timeWords(at, shown)}`
  const here = `${dateWords(at, hereZone)}, ${timeWords(at, hereZone)} ${hereZone}`
  return html`<time datetime=${new Date(at).toISOString()} title=${`${offsetWords(at, shown)}; here: ${here}`}>${words} <span class="zone">${shown}</span></time>`
}
