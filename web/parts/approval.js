// Whether a connection's campaigns wait until another admin lets them go: the owner's and the admins' switch.
import { persist, rows, supabase, useDeed, useLive } from '../client.js'
import { html } from '../html.js'
import { Note } from './form.js'
import { Switch } from './switch.js'
import { Waiting } from './table.js'

const settings = () => supabase.from('connection_settings')

const load = async (id) =>
  (await rows(() => settings().select('approval').eq('connection_id', id)))[0]?.approval ?? 'none'

export function Approval({ connection }) {
  const live = useLive(() => load(connection.id), [connection.id], { every: 30 })
  const deed = useDeed()
  const turn = async (isOn) => {
    const approval = isOn ? 'campaigns' : 'none'
    const write = () => rows(() => settings().upsert({ connection_id: connection.id, approval }).select('approval'))
    await deed.run(() => persist(write), 'Changed.')
    await live.look()
  }
  return html`<${Waiting} live=${live} />
    ${live.data && html`<${Switch} label="Campaigns wait until another admin approves them" isOn=${live.data === 'campaigns'} isBusy=${deed.isBusy} onTurn=${turn} />`}
    <${Note} of=${deed} />`
}
