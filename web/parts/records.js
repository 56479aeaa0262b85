// Rows that an author writes in a form: made once under an id of the page's own, and changed as their author saw them.
import { insertOnce, persist, Refusal, rows, supabase } from '../client.js'

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

// The row of a draft { id, tried }. `tried` is what an earlier press of the button sent under this id, which may have arrived:
// then that row is brought up to date, and no second one written. `marks`: the columns that tell one state of
// a row from the next.
export async function create(table, marks, draft, content) {
  const { row, wasThere } = await insertOnce(table, { ...content, id: draft.id })
  if (!wasThere || holds(row, content)) return row
  if (draft.tried && holds(row, draft.tried)) return await change(table, marks, row, content)
  return await create(table, marks, { id: crypto.randomUUID() }, content) // the id of another: a duplicated tab
}

// Refused where somebody has changed the row since.
export async function change(table, marks, row, content) {
  return await persist(async () => {
    const [changed] = await rows(() => {
      const same = supabase.from(table).update(content).eq('id', row.id)
      return marks.reduce((query, mark) => query.eq(mark, row[mark]), same).select()
    })
    if (changed) return changed
    const [found] = await rows(() => supabase.from(table).select().eq('id', row.id))
    if (found && holds(found, content)) return found // an earlier try arrived
    throw new Refusal(
      found
        ? 'Somebody has changed this meanwhile. Close it and look again.'
        : 'This is no longer there, or not yours to change.',
      { status: 409 },
    )
  })
}

export const removeRow = (table, row) => persist(() => rows(() => supabase.from(table).delete().eq('id', row.id)))
