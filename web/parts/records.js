// Rows that an author writes in a form: made once under an id of the page's own, and changed as their author saw them.
import { insertOnce, NOT_YOURS, persist, Refusal, rows, supabase } from '../client.js'

const isTime = (name) => name.endsWith('_at')

// What the database may write in another order, or another spelling, is the same value.
function plain(value, name) {
  if (value === null || value === undefined) return null
  if (isTime(name)) return Date.parse(value)
  if (Array.isArray(value)) return value.map((one) => plain(one, ''))
  if (typeof value !== 'object') return value
  return Object.fromEntries(
    Object.keys(value)
      .sort()
      .map((key) => [key, plain(value[key], '')]),
  )
}

const holds = (row, content) =>
  Object.keys(content).every(
    (name) =>
      name === 'status' || JSON.stringify(plain(row[name], name)) === JSON.stringify(plain(content[name], name)),
  )

// The row of a draft { id, tried }. `tried` is what an earlier press of a button sent under this id, which may have arrived:
// then that row is brought up to date, and no second one written. A status goes on by itself, so whether another is wanted
// than then (a draft, and now it is to be scheduled) is told by what was pressed and not by how the row stands.
// `marks`: the columns that tell one state of a row from the next.
export async function create(table, marks, draft, content) {
  const { row, wasThere } = await insertOnce(table, { ...content, id: draft.id })
  const isSameStatus = !draft.tried || draft.tried.status === content.status
  if (!wasThere || (isSameStatus && holds(row, content))) return row
  if (draft.tried && holds(row, draft.tried)) return await change(table, marks, row, content)
  return await create(table, marks, { id: crypto.randomUUID() }, content) // the id of another: a duplicated tab
}

// Refused where somebody has changed the row since, and where it may be read and not written: what row level security keeps
// from a write is no error to the database, only nothing.
export async function change(table, marks, row, content) {
  return await persist(async () => {
    const [changed] = await rows(() => {
      const same = supabase.from(table).update(content).eq('id', row.id)
      return marks.reduce((query, mark) => query.eq(mark, row[mark]), same).select()
    })
    if (changed) return changed
    const [found] = await rows(() => supabase.from(table).select().eq('id', row.id))
    const isMoved = [undefined, row.status].includes(content.status) || found?.status !== row.status
    if (found && isMoved && holds(found, content)) return found // an earlier try arrived
    const isOthers = found && marks.some((mark) => found[mark] !== row[mark])
    throw new Refusal(isOthers ? 'Somebody has changed this meanwhile. Close it and look again.' : NOT_YOURS, {
      status: 409,
    })
  })
}

// What is gone already was deleted by an earlier try; what is there still is not the caller's to delete.
export async function removeRow(table, row) {
  await persist(async () => {
    const gone = await rows(() => supabase.from(table).delete().eq('id', row.id).select('id'))
    if (gone.length) return
    const left = await rows(() => supabase.from(table).select('id').eq('id', row.id))
    if (left.length) throw new Refusal(NOT_YOURS, { status: 409 })
  })
}
