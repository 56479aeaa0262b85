// A time is never shown without its zone.
import { html } from '../html.js'
import { dateWords, hereZone, isSecond, isZone, offsetWords, timeWords } from './zones.js'

// An instant in `zone` (the browser's where none is given). `time`: without the date. Where the clocks show the same time twice,
// the second has its offset with it: its zone alone does not tell.
export function When({ at, zone = hereZone, time = false }) {
  const shown = isZone(zone) ? zone : hereZone
  const words = time ? timeWords(at, shown) : `${dateWords(at, shown)}, ${timeWords(at, shown)}`
  const name = isSecond(at, shown) ? `${shown}, ${offsetWords(at, shown)}` : shown
  const here = `${dateWords(at, hereZone)}, ${timeWords(at, hereZone)} ${hereZone}`
  return html`<time datetime=${new Date(at).toISOString()} title=${`${offsetWords(at, shown)}; here: ${here}`}>${words} <span class="zone">${name}</span></time>`
}
