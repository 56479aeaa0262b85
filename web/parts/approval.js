// Whether a connection's campaigns wait until another admin lets them go: the owner's and the admins' switch.
import { persist, rows, supabase, useDeed, useLive } from '../client.js'
import { html, useState } from '../html.js'
import { Note } from './form.js'
import { Waiting } from './table.js'

const settings = () => supabase.from('connection_settings')

const load = async (id) =>
  (await rows(() => settings().select('approval').eq('connection_id', id)))[0]?.approval ?? 'none'

export function Approval({ connection }) {
  const live = useLive(() => load(connection.id), [connection.id], { every: 30 })
  const deed = useDeed()
  const [wanted, want] = useState(null) // until it is stored
  const change = (event) => {
    const approval = event.target.checked ? 'campaigns' : 'none'
    const write = () => rows(() => settings().upsert({ connection_id: connection.id, approval }).select('approval'))
    want(approval)
    deed
      .run(() => persist(write), 'Changed.')
      .then((went) => {
        if (!went) want(null)
        live.look()
      })
  }
  return html`<${Waiting} live=${live} />
    ${live.data && html`<label class="check"><input type="checkbox" checked=${(wanted ?? live.data) === 'campaigns'} disabled=${deed.isBusy} onChange=${change} />Campaigns wait until another admin approves them</label>`}
    <${Note} of=${deed} />`
}
