// A campaign's text to oneself, before anybody else gets it: one plain message, which goes out at once.
import { persist, rows, supabase, useDeed } from '../client.js'
import { html } from '../html.js'
import { drafts } from './drafts.js'
import { Field, Note } from './form.js'

const NUMBER = 'own number' // kept in this tab

// The messages of mine to that number. One that was not there before is a test whose answer was lost.
const testsTo = async (campaign, address) => {
  const found = await rows(() =>
    supabase
      .from('scheduled_messages')
      .select('id')
      .eq('connection_id', campaign.connection_id)
      .eq('contact_id', address)
      .is('source_id', null)
      .order('created_at', { ascending: false })
      .limit(100),
  )
  return found.map((row) => row.id)
}

async function sendTest(campaign, address) {
  const before = await testsTo(campaign, address)
  let isAgain = false
  await persist(async () => {
    if (isAgain && (await testsTo(campaign, address)).some((id) => !before.includes(id))) return
    isAgain = true
    await rows(() => supabase.rpc('send_test', { campaign_id: campaign.id, address }))
  })
}

export function Test({ campaign }) {
  const deed = useDeed()
  const submit = (event) => {
    event.preventDefault()
    const address = new FormData(event.target).get('address').trim()
    drafts.save(NUMBER, address)
    deed.run(() => sendTest(campaign, address), 'It is on its way to you. The page Messages shows what becomes of it.')
  }
  return html`<section class="card" aria-label="A test to yourself">
    <form class="stack" onSubmit=${submit}>
      <h3>A test to yourself</h3>
      <${Field} label="Your own WhatsApp number" hint="With the country code: +91 98765 43210"><input name="address" type="tel" required defaultValue=${drafts.load(NUMBER) ?? ''} autocomplete="tel" /><//>
      <${Note} of=${deed} />
      <div class="actions"><button disabled=${deed.isBusy}>Send a test</button></div>
    </form>
  </section>`
}
