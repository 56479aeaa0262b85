// Supabase Realtime as supabase-js sees it from a page (Phoenix, messages of either version): realtime/protocol of its docs.
const pages = new WeakMap()

// `untold`: a table that is not in the publication, of which the server says so after the channel is joined.
export async function answer(page, untold) {
  const joined = new Map() // what tells of a change, by the table
  pages.set(page, joined)
  await page.routeWebSocket(/\/realtime\/v1\//, (socket) => {
    socket.onMessage((text) => {
      const given = JSON.parse(text)
      const isList = Array.isArray(given)
      const [joinRef, ref, topic, event, payload] = isList
        ? given
        : [given.join_ref, given.ref, given.topic, given.event, given.payload]
      const send = (name, content, to = null) =>
        socket.send(
          JSON.stringify(
            isList ? [joinRef, to, topic, name, content] : { topic, event: name, payload: content, ref: to },
          ),
        )
      if (event === 'heartbeat') send('phx_reply', { status: 'ok', response: {} }, ref)
      if (event !== 'phx_join') return
      const changes = payload.config.postgres_changes.map((one, n) => ({ ...one, id: n + 1 }))
      send('phx_reply', { status: 'ok', response: { postgres_changes: changes } }, ref)
      const [{ table }] = changes
      const status = table === untold ? 'error' : 'ok'
      const message = table === untold ? 'Unable to subscribe to changes' : 'Subscribed to PostgreSQL'
      send('system', { channel: topic, extension: 'postgres_changes', status, message })
      joined.set(table, () =>
        send('postgres_changes', {
          ids: changes.map((one) => one.id),
          data: {
            schema: 'public',
            table,
            type: 'INSERT',
            commit_timestamp: new Date().toISOString(),
            columns: [{ name: 'id', type: 'uuid' }],
            record: { id: '0' },
            errors: null,
          },
        }),
      )
    })
  })
}

export const isJoined = (page, table) => pages.get(page).has(table)

// A change of a row, told to who has joined for its table.
export const publish = (page, table) => pages.get(page).get(table)()

// One change after the other, until the page closes.
export function publishOnAndOn(page, table) {
  const timer = setInterval(() => (page.isClosed() ? clearInterval(timer) : publish(page, table)), 40)
  timer.unref()
}
