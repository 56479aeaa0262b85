// The operator's page: asks for status.json every few seconds and shows it. Whoever has no token is asked for it.

const EVERY = 5000 // milliseconds; the daemon asks the database no more often than that, whoever looks
const SOON = 1000 // while the database's first answer is on its way
const KEPT = 'operator-token' // in this tab alone: an address with a token in it would stand in logs
const get = (id) => document.getElementById(id)
const shown = {} // what each part was last made of, so that only what changed is made anew
let timer
let last // the report on the screen, and when it came

function make(name, attributes = {}, ...children) {
  const isSvg = ['svg', 'rect', 'title'].includes(name)
  const made = isSvg ? document.createElementNS('http://www.w3.org/2000/svg', name) : document.createElement(name)
  for (const [key, value] of Object.entries(attributes)) made.setAttribute(key, value)
  made.append(...children.flat().filter((child) => child !== null && child !== undefined && child !== ''))
  return made
}

// Words

const number = (value) => (value ?? 0).toLocaleString('en')
const zone = Intl.DateTimeFormat().resolvedOptions().timeZone

function span(seconds) {
  if (seconds === null || seconds === undefined) return '–'
  if (seconds < 1) return `${Math.round(seconds * 1000)} ms`
  if (seconds < 60) return `${Number(seconds.toFixed(seconds < 10 ? 1 : 0))} s`
  const [minutes, hours] = [Math.floor(seconds / 60), Math.floor(seconds / 3600)]
  if (hours >= 48) return `${Math.floor(hours / 24)} days`
  if (!hours) return `${minutes} min`
  return minutes % 60 ? `${hours} h ${minutes % 60} min` : `${hours} h`
}

function time(text) {
  if (!text) return ''
  const moment = new Date(text)
  const isToday = moment.toDateString() === new Date().toDateString()
  return moment.toLocaleString('en-GB', isToday ? { timeStyle: 'medium' } : { dateStyle: 'medium', timeStyle: 'short' })
}

// Parts

const figure = ([name, value]) => make('div', {}, make('dt', {}, name), make('dd', {}, String(value)))
const figures = (pairs, kind = '') => make('dl', { class: `figures ${kind}` }, pairs.map(figure))

function list([, title, rows, columns, , hint], report) {
  const found = rows(report)
  if (!found.length) return null
  const heads = columns.map(([name]) => make('th', { scope: 'col' }, name))
  const cells = (row) =>
    columns.map(([name, of, kind = '']) => make('td', { 'data-name': name, class: kind }, String(of(row) ?? '')))
  const lines = found.map((row) => make('tr', {}, cells(row)))
  const table = make('table', { class: 'list' }, make('thead', {}, make('tr', {}, heads)), make('tbody', {}, lines))
  return [make('h2', {}, title), table, hint ? make('p', { class: 'muted note' }, hint) : '']
}

function health({ health: found }) {
  const loops = Object.entries(found.seconds_since_progress)
  const slowest = loops.sort((a, b) => b[1] - a[1])[0]
  return [
    make('h2', {}, 'Health'),
    found.problems.length
      ? make(
          'ul',
          { class: 'problems' },
          found.problems.map((problem) => make('li', {}, problem)),
        )
      : make('p', {}, 'It is well: it polls, its loops go round, its gateway can be used.'),
    figures(
      [
        ['last answered poll', `${span(found.seconds_since_poll)} ago`],
        ['oldest due message', found.oldest_overdue_seconds ? `${span(found.oldest_overdue_seconds)} late` : 'none'],
        ['Realtime', found.realtime],
        ['gateway', found.gateway.ok ? 'usable' : 'not usable'],
        ['slowest loop', slowest ? `${slowest[0]}, ${span(slowest[1])} ago` : '–'],
      ],
      'small note',
    ),
  ]
}

function messages({ database: { figures: found, age_seconds: age, trouble } }) {
  const heading = make('h2', {}, 'Messages')
  const why = trouble ? make('p', { class: 'trouble' }, `The database does not answer: ${trouble}`) : ''
  if (!found) return [heading, why || make('p', { class: 'muted' }, 'The database is being asked …')]
  const { counts } = found
  const late = found.oldest_overdue_seconds
  return [
    heading,
    why,
    figures([
      ['due now', number(found.due)],
      ['waiting or being sent', number(counts.processing)],
      ['to come', number(counts.pending - found.due)],
      ['sent', number(counts.sent)],
      ['failed', number(counts.failed)],
      ['unconfirmed', number(counts.unconfirmed)],
      ['cancelled', number(counts.cancelled)],
      ...(counts.in_queue ? [['of another scheduler', number(counts.in_queue)]] : []),
      ...(found.stale_hand_overs ? [['handed over, unfinished', number(found.stale_hand_overs)]] : []),
    ]),
    make(
      'p',
      { class: 'muted note' },
      `Next due: ${time(found.next_due_at) || 'nothing'}. Oldest overdue: ${late ? span(late) : 'none'}. `,
      `Of the whole database, ${span(age)} ago.`,
    ),
  ]
}

function lateness({ last_quarter_hour: { lateness: found } }) {
  const total = found.counts.reduce((sum, count) => sum + count, 0)
  const heading = make('h2', {}, 'How late, in the last quarter of an hour')
  if (!total) return [heading, make('p', { class: 'muted' }, 'This daemon has sent nothing in that time.')]
  const labels = [...found.up_to_seconds.map((bound) => `≤ ${span(bound)}`), `> ${span(found.up_to_seconds.at(-1))}`]
  const first = found.counts.findIndex(Boolean)
  const end = found.counts.findLastIndex(Boolean) + 1
  const most = Math.max(...found.counts)
  const rows = found.counts
    .slice(first, end)
    .map((count, place) =>
      make(
        'tr',
        {},
        make('th', { scope: 'row' }, labels[first + place]),
        make('td', { class: 'bar', 'aria-hidden': 'true' }, bar(count / most)),
        make('td', {}, number(count)),
      ),
    )
  return [
    heading,
    figures([
      ['p50', span(found.p50_seconds)],
      ['p99', span(found.p99_seconds)],
      ['messages', number(total)],
    ]),
    make('table', { class: 'bars note' }, make('tbody', {}, rows)),
  ]
}

const bar = (share) =>
  make(
    'svg',
    { viewBox: '0 0 100 1', preserveAspectRatio: 'none' },
    make('rect', { class: 'track', width: 100, height: 1 }),
    make('rect', { width: Math.max(share * 100, share ? 0.5 : 0), height: 1 }),
  )

function chart(rates, most, about) {
  const bars = rates.map((one, place) => {
    const height = (one / most) * 100
    return make('rect', { x: place + 0.1, y: 100 - height, width: 0.8, height })
  })
  const box = { class: 'rate note', viewBox: `0 0 ${rates.length} 100`, preserveAspectRatio: 'none' }
  return [
    make('svg', { ...box, role: 'img', 'aria-label': about }, bars),
    make('p', { class: 'muted axis' }, make('span', {}, '15 minutes ago'), make('span', {}, 'now')),
  ]
}

function rate({ last_quarter_hour: found, so_far: so }) {
  const rates = found.sent_per_second
  const most = Math.max(...rates)
  const mean = rates.reduce((sum, one) => sum + one, 0) / rates.length
  const about = `Sent a second in the last quarter of an hour: ${number(mean)} on average, ${number(most)} at most.`
  return [
    make('h2', {}, 'Sent a second, in the last quarter of an hour'),
    figures([
      ['on average', number(Number(mean.toPrecision(2)))],
      ['at most', number(Number(most.toFixed(1)))],
    ]),
    ...(most ? chart(rates, most, about) : []),
    make(
      'p',
      { class: 'muted' },
      `By this daemon, since it began: ${number(so.sent)} sent, ${number(so.failed)} failed, ${number(so.unconfirmed)} unconfirmed.`,
    ),
  ]
}

function versions({ daemon }) {
  return [
    make('h2', {}, 'This daemon'),
    figures(
      [
        ['version', daemon.version],
        ['Python', daemon.python],
        ['gateway', daemon.gateway],
        ['time zone data', daemon.zones],
        ['running for', span(daemon.up_seconds)],
        ['process', `${daemon.process} on ${daemon.host}`],
      ],
      'small',
    ),
    make('p', { class: 'muted note' }, `Times on this page are those of ${zone}.`),
  ]
}

// Lists: what each is called, its rows, its columns, what to say where there are none, and what to do about them.

const of = (name) => (report) => report.database.figures?.[name] ?? []
const id = ['id', (one) => one.id]
const connection = ['connection', (one) => one.connection_id]
const short = (name, of) => [name, of, 'short']
const counted = (name, key = name) => short(name, (one) => number(one[key]))
const timed = (name, key) => short(name, (one) => time(one[key]))
const today = (one) =>
  one.daily_limit === null ? number(one.sent_today) : `${number(one.sent_today)} of ${number(one.daily_limit)}`

const lists = [
  [
    'held',
    'Who holds what it needs',
    (report) => report.health.held,
    [['transaction', (one) => one]],
    'Nobody holds what it needs.',
  ],
  [
    'connections',
    'Connections that may not send',
    of('connections'),
    [connection, ['why', (one) => one.state], timed('next look', 'until'), short('today', today)],
    'Every connection may send.',
  ],
  [
    'waiting',
    'What waits, and why',
    of('waiting'),
    [connection, ['why', (one) => one.reason], counted('messages', 'number'), timed('until', 'until')],
    'Nothing waits.',
  ],
  [
    'runs',
    'Campaigns under way',
    of('runs'),
    [
      ['run', (one) => one.id],
      connection,
      short('state', (one) => one.status),
      timed('since', 'started_at'),
      short('of', (one) => (one.total === null ? 'being counted' : number(one.total))),
      counted('sent'),
      counted('waiting', 'pending'),
      counted('failed'),
      counted('unconfirmed'),
    ],
    'No campaign is under way.',
    'What is unconfirmed of a run is settled at once: resolve --run ID sent|failed|resend.',
  ],
  [
    'unconfirmed',
    'Unconfirmed: each may have been sent',
    of('unconfirmed'),
    [id, connection, short('gateway', (one) => one.gateway), timed('begun', 'send_at')],
    'Nothing is unconfirmed.',
    'Look at the phone, then: resolve ID sent|failed|resend. The command status shows what the gateway said.',
  ],
  [
    'refused',
    'Refused by the database',
    of('refused'),
    [
      id,
      short('step', (one) => one.step),
      short('code', (one) => one.code),
      counted('tries'),
      timed('again', 'again_at'),
    ],
    'The database refuses nothing.',
    'A rule of the project’s own is against it; the command status has its words. It is tried again by itself.',
  ],
]

function quiet(report) {
  const said = lists.filter(([, , rows]) => !rows(report).length).map(([, , , , none]) => none)
  return report.database.figures && said.length ? make('p', {}, said.join(' ')) : null
}

const parts = [
  ['health', 'wide', health],
  ['messages', 'wide', messages],
  ['lateness', '', lateness],
  ['rate', '', rate],
  ...lists.map((one) => [one[0], 'wide', (report) => list(one, report)]),
  ['quiet', 'wide', quiet],
  ['versions', 'wide', versions],
]

function show(report) {
  for (const [name, kind, build] of parts) {
    const content = build(report)
    const built = make('section', { id: name, class: `card ${kind}` }, content ?? [])
    built.hidden = content === null
    if (shown[name] === built.outerHTML) continue
    const there = get(name)
    if (there) there.replaceWith(built)
    else get('report').append(built)
    shown[name] = built.outerHTML
  }
  state(report.health.ok ? 'good' : 'bad', report.health.ok ? 'Well' : 'Unwell')
  get('report').hidden = false
  get('entry').hidden = true
  get('leave').hidden = !sessionStorage.getItem(KEPT)
}

function state(kind, words) {
  const badge = get('state')
  if (badge.textContent === words) return
  badge.className = `badge ${kind}`
  badge.textContent = words
}

// Asking

async function ask() {
  clearTimeout(timer)
  const token = sessionStorage.getItem(KEPT)
  try {
    const answer = await fetch('status.json', {
      headers: token ? { authorization: `Bearer ${token}` } : {},
      signal: AbortSignal.timeout(10_000),
    })
    if (answer.status === 401 || answer.status === 403) return refuse(answer.status, await answer.json(), token)
    if (!answer.ok) throw new Error(`it answers ${answer.status}`)
    last = { report: await answer.json(), at: new Date() }
    away('')
    show(last.report)
  } catch (error) {
    away(error.name === 'TimeoutError' || error instanceof TypeError ? '' : error.message, true)
  }
  get('when').textContent = last ? `as of ${last.at.toLocaleTimeString('en-GB')}` : ''
  const isWhole = !last || last.report.database.figures || last.report.database.trouble
  if (!document.hidden) timer = setTimeout(ask, isWhole ? EVERY : SOON)
}

function away(why, isAway = false) {
  const banner = get('away')
  banner.hidden = !isAway
  if (!isAway) return
  banner.textContent = `The daemon does not answer${why ? ` (${why})` : ''}. ${last ? 'What stands here is what it said last.' : 'Is it running?'} Trying again …`
  state('unsure', 'No answer')
}

// 401: the token is missing or another one; 403: none is set, so that nobody can have it.
function refuse(status, { error }, token) {
  sessionStorage.removeItem(KEPT)
  away('')
  state('', '')
  get('report').hidden = true
  get('leave').hidden = true
  get('entry').hidden = false
  get('why').textContent =
    status === 403 ? error : token ? 'That is not the token.' : 'This page tells its operator alone.'
  get('token').closest('form').querySelector('button').disabled = status === 403
  get('token').disabled = status === 403
  get('token').focus()
}

get('entry').addEventListener('submit', (event) => {
  event.preventDefault()
  sessionStorage.setItem(KEPT, get('token').value.trim())
  get('token').value = ''
  ask()
})
get('leave').addEventListener('click', () => {
  sessionStorage.removeItem(KEPT)
  location.reload()
})
document.addEventListener('visibilitychange', () => (document.hidden ? clearTimeout(timer) : ask()))
ask()
