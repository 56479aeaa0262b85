// The template that WhatsApp has approved and that the Cloud API sends in place of our text: chosen from what is known to be
// approved, or written. docs/campaigns.md says what each of its values means.
import { html } from '../html.js'
import { Field } from './form.js'
import { placeOf, placesIn } from './places.js'

const FILES = { image: 'a picture', video: 'a video', document: 'a document' }
const OTHER = 'other'
// `isOther`: its name is written and not chosen.
export const noCloud = {
  isOther: false,
  name: '',
  language: '',
  format: 'positional',
  parameters: [],
  header: '', // '', text, image, video, document
  header_name: '',
  link: '',
  filename: '',
}

// The values of a form for the column `cloud`.
export function valuesOfCloud(cloud) {
  const { header, ...others } = cloud ?? {}
  if (typeof header === 'string') return { ...noCloud, ...others, header: 'text', header_name: header }
  return {
    ...noCloud,
    ...others,
    header: header?.type ?? '',
    link: header?.link ?? '',
    filename: header?.filename ?? '',
  }
}

// The column. What it may leave out is left out as long as it was `before`, so that saving the same changes nothing.
export function cloudOf(values, before) {
  if (!values.name.trim()) return null
  const parameters = values.parameters.map((name) => name.trim()).filter(Boolean)
  const header = headerOf(values)
  return {
    name: values.name.trim(),
    language: values.language.trim(),
    ...((values.format === 'named' || before?.format) && { format: values.format }),
    ...((parameters.length > 0 || before?.parameters) && { parameters }),
    ...(header && { header }),
  }
}

function headerOf({ header, header_name, link, filename }) {
  if (header === 'text') return header_name.trim()
  return FILES[header] && { type: header, ...(link.trim() && { link: link.trim() }), ...(filename && { filename }) }
}

// The names whose values it needs, as private.names_of_approved finds them.
export function namesOfCloud(cloud) {
  const { parameters, header, header_name, link } = valuesOfCloud(cloud)
  const names = [...parameters, ...(header === 'text' ? [header_name] : [])].map(placeOf)
  return [...new Set([...names, ...placesIn(link)])].filter(Boolean)
}

const keyOf = ({ name, language }) => `${name} (${language})`

// As its author would fill in what has just been chosen; of positions the text's own places, one after the other.
function chosenValues({ name, language, format, places, header, header_places }, names) {
  if (!places) return { ...noCloud, name, language, isOther: true } // known by its name alone
  const isNamed = format === 'named'
  const fill = (place, n) => (isNamed ? place : (names[n] ?? ''))
  const isFixed = header === 'text' && !header_places?.length
  return {
    ...noCloud,
    name,
    language,
    format: format ?? 'positional',
    parameters: places.map(fill),
    header: isFixed ? '' : (header ?? ''),
    header_name: header === 'text' && !isFixed ? fill(header_places[0], 0) : '',
  }
}

// `approved`: what can be chosen (approved_templates); `names`: of the text's own places; `hasFile`: whether the template has a
// link of its own.
export function CloudTemplate({ values, set, approved, names, hasFile }) {
  const usable = approved.filter((one) => one.header !== 'location') // which nothing of ours could fill
  const known = !values.isOther && usable.find((one) => one.places && keyOf(one) === keyOf(values))
  const choose = (event) => {
    const chosen = usable.find((one) => keyOf(one) === event.target.value)
    set(chosen ? chosenValues(chosen, names) : { ...noCloud, isOther: event.target.value === OTHER })
  }
  const at = known ? keyOf(known) : values.isOther || values.name ? OTHER : ''
  return html`<fieldset class="stack">
    <legend>Through WhatsApp's Cloud API</legend>
    <${Field} label="Approved template" hint="Sent there in place of the text. Through any other connection the text goes out.">
      <select name="approved" value=${at} onChange=${choose}>
        <option value="">None</option>
        ${usable.map((one) => html`<option key=${keyOf(one)} value=${keyOf(one)}>${keyOf(one)}</option>`)}
        <option value=${OTHER}>Another one: write its name</option>
      </select>
    <//>
    ${at === OTHER && html`<${Written} values=${values} set=${set} />`}
    ${known && html`<${Places} known=${known} values=${values} set=${set} names=${names} />`}
    ${at && html`<${Header} values=${values} set=${set} isChosen=${Boolean(known)} hasFile=${hasFile} />`}
  </fieldset>`
}

const typed = (set, name) => (event) => set({ [name]: event.target.value })

function Places({ known, values, set, names }) {
  if (values.format === 'named') {
    return html`${known.places.length > 0 && html`<p class="muted small">Its places are filled by the fields of the same names: ${known.places.map((name) => `{${name}}`).join(', ')}.</p>`}`
  }
  const fill = (n) => (event) =>
    set({ parameters: known.places.map((_, m) => (m === n ? event.target.value : (values.parameters[m] ?? ''))) })
  return html`<div class="pair">
      ${known.places.map((place, n) => html`<${Field} key=${place} label=${`Field for {{${place}}}`}><input name=${`parameter ${place}`} list="fields" dir="auto" required value=${values.parameters[n] ?? ''} onInput=${fill(n)} autocomplete="off" /><//>`)}
    </div>
    <datalist id="fields">${names.map((name) => html`<option value=${name} />`)}</datalist>`
}

const Written = ({ values, set }) =>
  html`<div class="pair">
    <${Field} label="Its name at WhatsApp"><input name="approved name" required value=${values.name} onInput=${typed(set, 'name')} autocomplete="off" /><//>
    <${Field} label="Its language" hint="As WhatsApp Manager writes it: en_US, hi"><input name="approved language" required value=${values.language} onInput=${typed(set, 'language')} autocomplete="off" /><//>
    <${Field} label="Its places have">
      <select name="format" value=${values.format} onChange=${typed(set, 'format')}><option value="positional">numbers: {{1}}, {{2}}</option><option value="named">names: {{name}}</option></select>
    <//>
    <${Field} label="Fields that fill them, in order" hint="With commas between them: name, date"><input name="parameters" dir="auto" value=${values.parameters.join(',')} onInput=${(event) => set({ parameters: event.target.value ? event.target.value.split(',') : [] })} autocomplete="off" /><//>
    <${Field} label="Its header">
      <select name="header" value=${values.header} onChange=${typed(set, 'header')}>
        <option value="">none, or a text without a place</option>
        <option value="text">a text with a place</option>
        ${Object.entries(FILES).map(([kind, words]) => html`<option value=${kind}>${words}</option>`)}
      </select>
    <//>
  </div>`

function Header({ values, set, isChosen, hasFile }) {
  if (values.header === 'text' && isChosen && values.format === 'named') return null
  if (values.header === 'text') {
    return html`<${Field} label="Field for the header's place"><input name="header name" list="fields" dir="auto" required value=${values.header_name} onInput=${typed(set, 'header_name')} autocomplete="off" /><//>`
  }
  if (!FILES[values.header]) return null
  return html`<div class="pair">
    <${Field} label=${`Link to the header: ${FILES[values.header]}`} hint=${`May hold places, such as {bill}.${hasFile ? ' Left empty: the link above.' : ''}`}><input name="header link" required=${!hasFile} value=${values.link} onInput=${typed(set, 'link')} autocomplete="off" /><//>
    ${values.header === 'document' && html`<${Field} label="File name"><input name="header filename" dir="auto" value=${values.filename} onInput=${typed(set, 'filename')} autocomplete="off" /><//>`}
  </div>`
}
