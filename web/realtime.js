// Realtime's hints that rows of a table have changed: a channel for each table that a page has shown, kept until its reader
// signs out. Apart, because a project may publish some of them and not the others.
const tables = new Map()
let opened = 0 // a name of its own for each: of the same one as a channel that is still being left, there would be no second

// `look` is called when a table has changed. Returns how to stop that.
export function hear(supabase, table, look) {
  if (!tables.has(table)) tables.set(table, open(supabase, table))
  const { looks } = tables.get(table)
  looks.add(look)
  return () => looks.delete(look)
}

// Whether the changes of a table are told of at present.
export const isHeard = (table) => Boolean(tables.get(table)?.isHeard)

export function hush(supabase) {
  for (const { channel } of tables.values()) supabase.removeChannel(channel)
  tables.clear()
}

function open(supabase, table) {
  const heard = { looks: new Set(), isHeard: false }
  const hint = atMostOnceASecond(() => {
    for (const look of heard.looks) look()
  })
  heard.channel = supabase
    .channel(`${table} ${++opened}`)
    .on('postgres_changes', { event: '*', schema: 'public', table }, hint)
    // A channel is joined before the server knows whether it can tell of the table: this says whether it does.
    .on('system', {}, ({ status }) => {
      heard.isHeard = status === 'ok'
      if (heard.isHeard) hint()
    })
    .subscribe((state) => {
      if (state !== 'SUBSCRIBED') heard.isHeard = false
    })
  return heard
}

// Not put off by the next hint: while a campaign goes out they come all the time, and one look a second is enough.
function atMostOnceASecond(carryOut) {
  let last = 0
  let isDue = false
  return () => {
    if (isDue) return
    isDue = true
    const then = () => {
      isDue = false
      last = Date.now()
      carryOut()
    }
    setTimeout(then, Math.max(200, last + 1000 - Date.now()))
  }
}
