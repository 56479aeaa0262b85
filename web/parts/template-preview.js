// A template's text as it comes out with values of one's own, filled in by the database as for a recipient.
import { rows, supabase } from '../client.js'
import { html, useEffect, useState } from '../html.js'
import { Field } from './form.js'

const PAUSE = 250 // ms after the last letter
const EXAMPLES = { name: 'Asha Rao', contact_name: 'Asha Rao', patient_name: 'Asha Rao', doctor_name: 'Dr. Mehta' }

// 'Loan amount' for {loan_amount}: something that shows where it stands.
const exampleOf = (name) => EXAMPLES[name] ?? name.charAt(0).toUpperCase() + name.slice(1).replaceAll('_', ' ')

export function Preview({ template }) {
  const defaults = template.defaults ?? {}
  const [values, setValues] = useState(() =>
    Object.fromEntries(template.variables.map((name) => [name, name in defaults ? '' : exampleOf(name)])),
  )
  const [shown, show] = useState({ row: null, fault: null })
  useEffect(() => {
    let isGone = false
    const ask = async () => {
      const question = { template_id: template.id, variables: values }
      const next = await rows(() => supabase.rpc('render_template', question)).then(
        ([row]) => ({ row, fault: row ? null : { message: 'This template is no longer there.' } }),
        (fault) => ({ row: null, fault }),
      )
      if (!isGone) show(next)
    }
    const timer = setTimeout(ask, shown.row ? PAUSE : 0)
    return () => {
      isGone = true
      clearTimeout(timer)
    }
  }, [template.id, template.version, values])
  const fill = (name) => (event) => setValues({ ...values, [name]: event.target.value })
  return html`<div class="stack">
    ${
      template.variables.length > 0 &&
      html`<fieldset class="pair">
        <legend>Example values</legend>
        ${template.variables.map((name) => html`<${Field} key=${name} label=${`{${name}}`} hint=${name in defaults ? `Without one: ${defaults[name]}` : undefined}><input name=${`example ${name}`} dir="auto" value=${values[name]} onInput=${fill(name)} autocomplete="off" /><//>`)}
      </fieldset>`
    }
    ${shown.fault && html`<p class="fault" role="alert">${shown.fault.message}</p>`}
    ${shown.row && html`<${Rendered} row=${shown.row} template=${template} />`}
  </div>`
}

const Rendered = ({ row, template }) =>
  html`<div role="status" class="stack">
    <${Bubble} text=${row.text} type=${template.type} media_url=${template.media_url} language=${template.language} />
    ${row.missing.length > 0 && html`<p class="waits">No value for ${row.missing.map((name) => `{${name}}`).join(', ')}: ${template.on_missing === 'blank' ? 'it is left blank.' : 'a recipient without one gets nothing.'}</p>`}
  </div>`

// A message as its recipient sees it.
export const Bubble = ({ text, type, media_url: link, language }) =>
  html`<div class="bubble">
    ${type !== 'text' && html`<p class="muted">${type}: ${link ?? ''}</p>`}
    <p class="whole" dir="auto" lang=${language?.replace('_', '-')}>${text}</p>
  </div>`
