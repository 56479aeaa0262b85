// To whom a campaign goes: by label, chosen one by one, or numbers. The values of a form, and the column that they mean.
import { rows, supabase, useLive } from '../client.js'
import { html, useState } from '../html.js'
import { Field } from './form.js'
import { People } from './people.js'
import { Waiting } from './table.js'

const MOST = 1000 // chosen one by one
const CHUNK = 200 // ids in one question
const KINDS = { labels: 'Everybody with a label', contacts: 'Chosen contacts', numbers: 'Phone numbers' }

export const newAudience = { by: 'labels', labels: [], match: 'any', contacts: [], numbers: '', except: [] }

const numbersIn = (text) =>
  text
    .split(/[\n,;]/)
    .map((number) => number.trim())
    .filter(Boolean)

// The column `audience`. What is excepted beyond labels, and was written elsewhere, stays.
export function audienceOf({ by, labels, match, contacts, numbers, except }, before) {
  const chosen = {
    labels: { labels, ...(labels.length > 1 && { match }) },
    contacts: { contacts: contacts.map((one) => one.id) },
    numbers: { numbers: numbersIn(numbers) },
  }[by]
  const others = { ...before?.except }
  delete others.labels
  const excepted = { ...others, ...(except.length && { labels: except }) }
  return { ...chosen, ...(Object.keys(excepted).length && { except: excepted }) }
}

// The values of a form for a stored audience, with the names of the contacts that can still be seen.
export async function valuesOfAudience(audience) {
  const by = Object.keys(KINDS).find((kind) => kind in audience) ?? 'labels'
  const ids = (audience.contacts ?? []).map(String)
  const names = new Map()
  for (let from = 0; from < Math.min(ids.length, MOST); from += CHUNK) {
    const some = ids.slice(from, from + CHUNK)
    const found = await rows(() => supabase.from('contacts').select('id,contact_name,phone_number').in('id', some))
    for (const one of found) names.set(String(one.id), one.contact_name || one.phone_number)
  }
  return {
    by,
    labels: audience.labels ?? [],
    match: audience.match ?? 'any',
    contacts: (audience.contacts ?? []).map((id) => ({ id, name: names.get(String(id)) ?? `Contact ${id}` })),
    numbers: (audience.numbers ?? []).join('\n'),
    except: audience.except?.labels ?? [],
  }
}

const many = (number, one, more) => `${number.toLocaleString('en')} ${number === 1 ? one : more}`

// 'Everybody with the label gold_loan, but for those with staff'.
export function audienceWords(audience) {
  const list = (words, type) => new Intl.ListFormat('en-GB', { type }).format(words)
  const { labels, contacts, numbers, match, except } = audience
  const whom = labels
    ? `Everybody with ${labels.length > 1 ? 'the labels' : 'the label'} ${list(labels, match === 'all' ? 'conjunction' : 'disjunction')}`
    : contacts
      ? many(contacts.length, 'contact', 'contacts')
      : numbers
        ? many(numbers.length, 'number', 'numbers')
        : 'Nobody yet'
  return except?.labels?.length ? `${whom}, but for those with ${list(except.labels, 'disjunction')}` : whom
}

export function Audience({ values, set }) {
  const live = useLive(() => rows(() => supabase.rpc('contact_labels')), [], { every: null })
  const [isLeaving, leave] = useState(values.except.length > 0)
  return html`<fieldset class="stack">
    <legend class="sr">Recipients</legend>
    <div class="choices" role="radiogroup" aria-label="Who gets it">
      ${Object.entries(KINDS).map(([kind, words]) => html`<label class="check"><input type="radio" name="by" value=${kind} checked=${values.by === kind} onChange=${() => set({ by: kind })} />${words}</label>`)}
    </div>
    ${values.by === 'labels' && html`<${Waiting} live=${live} />`}
    ${values.by === 'labels' && live.data && html`<${Labels} title="Labels" known=${live.data} chosen=${values.labels} onChange=${(labels) => set({ labels })} />`}
    ${
      values.by === 'labels' &&
      values.labels.length > 1 &&
      html`<${Field} label="Of these labels">
        <select value=${values.match} onInput=${(event) => set({ match: event.target.value })}><option value="any">one is enough</option><option value="all">a contact needs all</option></select>
      <//>`
    }
    ${values.by === 'contacts' && html`<${People} chosen=${values.contacts} most=${MOST} onChange=${(contacts) => set({ contacts })} />`}
    ${
      values.by === 'numbers' &&
      html`<${Field} label="Numbers" hint=${`One a line, with the country code. ${many(numbersIn(values.numbers).length, 'number', 'numbers')} so far.`}>
        <textarea rows="6" name="numbers" inputmode="tel" value=${values.numbers} onInput=${(event) => set({ numbers: event.target.value })}></textarea>
      <//>`
    }
    ${
      values.by !== 'numbers' &&
      live.data?.length > 0 &&
      html`<details open=${isLeaving} onToggle=${(event) => leave(event.target.open)}>
        <summary>Leave some out</summary>
        ${isLeaving && html`<${Labels} title="Nobody with" known=${live.data} chosen=${values.except} onChange=${(except) => set({ except })} />`}
      </details>`
    }
  </fieldset>`
}

function Labels({ title, known, chosen, onChange }) {
  const numbers = new Map(known.map((one) => [one.label, one.contacts]))
  const names = [...new Set([...numbers.keys(), ...chosen])]
  const toggle = (name) => (event) =>
    onChange(event.target.checked ? [...chosen, name] : chosen.filter((other) => other !== name))
  if (!names.length) {
    return html`<p class="muted">No contact has a label yet. Give them some on the page <a href="#/contacts">Contacts</a>.</p>`
  }
  return html`<fieldset class="labels">
    <legend>${title}</legend>
    ${names.map((name) => html`<label class="check" key=${name}><input type="checkbox" checked=${chosen.includes(name)} onChange=${toggle(name)} /><bdi>${name}</bdi> <span class="muted">${(numbers.get(name) ?? 0).toLocaleString('en')}</span></label>`)}
  </fieldset>`
}
