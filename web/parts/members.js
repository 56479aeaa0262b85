// Who else may use a connection: members, invitations that nobody has taken yet, and how one is taken.
import { persist, Refusal, rows, supabase, useDeed, useLive } from '../client.js'
import { html, useState } from '../html.js'
import { Approval } from './approval.js'
import { Dialog } from './dialog.js'
import { Confirm, Field, Note } from './form.js'
import { Table, Waiting } from './table.js'
import { When } from './time.js'

const ROLES = { staff: 'Staff', admin: 'Admin' }
const MAY = {
  staff: 'Staff write messages, campaigns and appointments.',
  admin: 'Admins write templates, invite staff and set the sending hours, too.',
}
const members = () => supabase.from('connection_members')
const invitations = () => supabase.from('connection_invitations')

async function load(connection) {
  const [joined, invited] = await Promise.all([
    rows(() => members().select('*').eq('connection_id', connection.id).order('created_at').limit(200)),
    rows(() =>
      invitations()
        .select('id,role,created_at,expires_at')
        .eq('connection_id', connection.id)
        .gt('expires_at', new Date().toISOString())
        .order('created_at')
        .limit(200),
    ),
  ])
  return { joined, invited }
}

// `user`: whoever looks. The owner has no membership; members see who the others are.
export function Members({ connection, user, onClose }) {
  const live = useLive(() => load(connection), [connection.id])
  const deed = useDeed()
  const run = (what, done) => deed.run(what, done).then(() => live.look())
  const mine = live.data?.joined.find((one) => one.user_id === user.id)
  const role = mine?.role ?? 'owner'
  return html`<${Dialog} title=${html`Members of <bdi>${connection.name ?? connection.id}</bdi>`} onClose=${onClose}>
    <${Waiting} live=${live} />
    ${
      live.data &&
      html`<p class="muted">${role === 'owner' ? 'You are its owner. ' : `You are ${role} here. `}${MAY.staff} ${MAY.admin} What they write is the owner's.</p>
      <h3>Members</h3>
      <${Table} label="Members" columns=${memberColumns({ role, user, deed, run })} rows=${live.data.joined} keyOf=${(one) => one.user_id} empty="Nobody but the owner uses this connection yet." />
      ${
        role !== 'staff' &&
        html`<h3>Invitations</h3>
        ${live.data.invited.length > 0 && html`<${Table} label="Invitations" columns=${invitationColumns({ role, deed, run })} rows=${live.data.invited} />`}
        <${Invite} connection=${connection} mayAdmin=${role === 'owner'} onDone=${live.look} />
        <h3>Approval</h3>
        <${Approval} connection=${connection} />`
      }
      <${Note} of=${deed} />`
    }
  <//>`
}

const nameOf = (member, user) => `${member.name || 'No name given'}${member.user_id === user.id ? ' (you)' : ''}`

function memberColumns({ role, user, deed, run }) {
  const of = (member) => (query) => query.eq('connection_id', member.connection_id).eq('user_id', member.user_id)
  const change = (member) => (event) => {
    const to = event.target.value
    return run(() => persist(() => rows(() => of(member)(members().update({ role: to })))), 'Changed.')
  }
  const remove = (member) => run(() => persist(() => rows(() => of(member)(members().delete()))), 'Removed.')
  return [
    {
      title: 'Name',
      cell: (member) =>
        html`<bdi>${nameOf(member, user)}</bdi> <small class="muted">since <${When} at=${member.created_at} /></small>`,
    },
    {
      title: 'Role',
      cell: (member) =>
        role === 'owner'
          ? html`<select class="small" aria-label=${`Role of ${nameOf(member, user)}`} value=${member.role} disabled=${deed.isBusy} onChange=${change(member)}>${Object.entries(ROLES).map(([key, words]) => html`<option value=${key}>${words}</option>`)}</select>`
          : ROLES[member.role],
    },
    {
      title: '',
      className: 'end',
      cell: (member) => {
        const isMe = member.user_id === user.id
        const may = isMe || role === 'owner' || (role === 'admin' && member.role === 'staff')
        const question = isMe ? 'Leave this connection?' : `Remove ${nameOf(member, user)}?`
        return (
          may &&
          html`<${Confirm} label=${isMe ? 'Leave' : 'Remove'} question=${question} yes=${isMe ? 'Yes, leave' : 'Yes, remove'} isBusy=${deed.isBusy} onYes=${() => remove(member)} />`
        )
      },
    },
  ]
}

function invitationColumns({ role, deed, run }) {
  // Whoever took it in the meantime is a member now: that is not to be called withdrawn.
  const withdraw = async (one) => {
    const gone = await rows(() => invitations().delete().eq('id', one.id).select('id'))
    if (!gone.length) throw new Refusal('It was taken or withdrawn already. Look who has joined.', { status: 409 })
  }
  return [
    { title: 'As', cell: (one) => ROLES[one.role] },
    { title: 'Until', cell: (one) => html`<${When} at=${one.expires_at} />` },
    {
      title: '',
      className: 'end',
      cell: (one) =>
        (role === 'owner' || one.role === 'staff') &&
        html`<button type="button" class="plain" disabled=${deed.isBusy} onClick=${() => run(() => persist(() => withdraw(one)), 'Withdrawn.')}>Withdraw</button>`,
    },
  ]
}

const linkOf = (token) => `${location.origin}${location.pathname}#/connections/join/${token}`

// The link is shown once: what is stored of it is a hash. A lost answer leaves an invitation that nobody has, in the list.
function Invite({ connection, mayAdmin, onDone }) {
  const deed = useDeed()
  const [token, setToken] = useState(null)
  const submit = async (event) => {
    event.preventDefault()
    const role = new FormData(event.target).get('role')
    const invite = async () => {
      setToken(await rows(() => supabase.rpc('invite_member', { connection_id: connection.id, role })))
    }
    if (await deed.run(invite)) onDone()
  }
  const copy = () => deed.run(() => navigator.clipboard.writeText(linkOf(token)), 'Copied.')
  return html`<form class="stack" onSubmit=${submit}>
    <div class="bar">
      <label class="inline" for="invite-as">Invite as</label><select class="short" id="invite-as" name="role">${Object.entries(ROLES).map(([key, words]) => (key === 'staff' || mayAdmin) && html`<option value=${key}>${words}</option>`)}</select>
      <button class="primary" disabled=${deed.isBusy}>Make an invitation</button>
    </div>
    ${
      token &&
      html`<div class="next" role="status">
        <p>Give this link to whoever is to join. It works once, within seven days, and is not shown again.</p>
        <${Field} label="Invitation"><input readonly value=${linkOf(token)} onFocus=${(event) => event.target.select()} /><//>
        ${navigator.clipboard && html`<button type="button" class="plain" onClick=${copy}>Copy</button>`}
      </div>`
    }
    <${Note} of=${deed} />
  </form>`
}

const myConnections = async (user) =>
  (await rows(() => members().select('connection_id').eq('user_id', user.id))).map((one) => one.connection_id)

// Takes an invitation. Its token works once: where an answer was lost, a membership that was not there before is the answer.
async function join(token, name, user) {
  const before = await myConnections(user)
  await persist(async () => {
    try {
      await rows(() => members().insert({ invitation: token, name }).select('connection_id'))
    } catch (fault) {
      if (fault.isUnanswered) throw fault
      const now = await myConnections(user)
      if (now.every((id) => before.includes(id))) throw fault
    }
  })
}

// #/connections/join/<token>: the link that an invitation is.
export function Join({ token, user, onClose, onChange }) {
  const deed = useDeed()
  const submit = (event) => {
    event.preventDefault()
    const name = new FormData(event.target).get('name').trim()
    deed
      .run(() => join(token, name, user))
      .then((went) => {
        if (!went) return
        onChange()
        onClose()
      })
  }
  return html`<${Dialog} title="Join a connection" onClose=${onClose}>
    <form class="stack" onSubmit=${submit}>
      <p>You were invited to a WhatsApp connection, to write its messages as <b>${user.email}</b>.</p>
      <${Field} label="Your name" hint="As its owner and the other members see it."><input name="name" dir="auto" required maxlength="200" autocomplete="name" /><//>
      <${Note} of=${deed} />
      <div class="actions"><button class="primary" disabled=${deed.isBusy}>Join</button></div>
    </form>
  <//>`
}
