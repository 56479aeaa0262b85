// Supabase Realtime as supabase-js sees it from a page (Phoenix, messages of either version): realtime/protocol of its docs.
const pages = new WeakMap()

export async function answer(page) {
  const joined = []
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
      send('system', {
        channel: topic,
        extension: 'postgres_changes',
        status: 'ok',
        message: 'Subscribed to PostgreSQL',
      })
      joined.push(() =>
        send('postgres_changes', {
          ids: changes.map((one) => one.id),
          data: {
            schema: 'public',
            table: 'scheduled_messages',
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

export const isJoined = (page) => pages.get(page).length > 0

// A change of a row, told to all that have joined.
export function publish(page) {
  for (const tell of pages.get(page)) tell()
}

// One change after the other, until the page closes.
export function publishOnAndOn(page) {
  const timer = setInterval(() => (page.isClosed() ? clearInterval(timer) : publish(page)), 40)
  timer.unref()
}
