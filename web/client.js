// The only module that talks to Supabase: who is signed in, how to ask, how to write once, how to keep what is shown fresh.
import config from './config.js'
import { useEffect, useRef, useState } from './html.js'
import { hear, hush, isHeard } from './realtime.js'

const { createClient } = window.supabase
const TRIES = 3 // of a write whose answer did not come; each is the same write
const SECONDS = { poll: config.poll ?? 3, withRealtime: 30, longest: 30 }

// The service key reads and writes everybody's rows: in a page it would be everybody's.
export const isSecret = (key) => key.startsWith('sb_secret_') || roleOf(key) === 'service_role'

function roleOf(key) {
  try {
    return JSON.parse(atob(key.split('.')[1].replaceAll('-', '+').replaceAll('_', '/'))).role
  } catch {
    return undefined
  }
}

export const isConfigured = Boolean(config.key) && !isSecret(config.key)
export const supabase = isConfigured ? createClient(config.url || location.origin, config.key) : undefined

// What the server, or the way to it, said no with. `message` is for people.
export class Refusal extends Error {
  constructor(message, { status = 0, code = '' } = {}) {
    super(message)
    this.status = status
    this.code = code
  }

  // Whether nobody knows if the call was carried out.
  get isUnanswered() {
    return this.status === 0 || this.status === 408 || this.status >= 500
  }
}

const UNANSWERED = 'The server does not answer. Check your connection; nothing that you wrote is lost.'
export const NOT_YOURS = 'This is not yours to change, or it is no longer there.'
const WORDS = {
  42501: NOT_YOURS,
  PGRST116: 'It is no longer there.',
}

function refusal({ error, status }) {
  const fault = new Refusal(WORDS[error.code] ?? error.message, { status, code: error.code })
  // A refusal of a guard says more than the code that it shares with others.
  if (error.code === '42501' && !/row-level security|permission denied/.test(error.message))
    fault.message = error.message
  if (fault.isUnanswered) fault.message = UNANSWERED
  return fault
}

// The data of one call. `build` makes it, so that it can be made again with a fresh token. Throws a Refusal.
export async function ask(build) {
  let answer = await build().retry(false)
  if (answer.status === 401) {
    await supabase.auth.refreshSession()
    answer = await build().retry(false)
  }
  if (answer.error) throw refusal(answer)
  return answer
}

export const rows = async (build) => (await ask(build)).data

// What has ids that anybody may have written, as into the address: of what can be no id there is nothing.
const NO_VALUES = ['22P02', '22003', '22007', '22008'] // of its type, or out of its range
export const rowsOf = (build) =>
  rows(build).catch((fault) => {
    if (NO_VALUES.includes(fault.code)) return []
    throw fault
  })

// How many rows a query finds; `build` asks with { count: 'exact', head: true }.
export const count = async (build) => (await ask(build)).count ?? 0

const pause = (seconds) => new Promise((resolve) => setTimeout(resolve, 1000 * seconds))

// Again while no answer comes: for calls that do the same however often they are carried out.
export async function persist(call) {
  for (let tries = 1; ; tries++) {
    try {
      return await call()
    } catch (fault) {
      if (!fault.isUnanswered || tries === TRIES) throw fault
      await pause(tries)
    }
  }
}

// Inserts a row whose id the page has made, so that one which is there already was written by an earlier try: whatever a second
// one is refused for. A trigger speaks before the primary key does, of what the first has changed.
export async function insertOnce(table, row) {
  return await persist(async () => {
    try {
      return { row: (await rows(() => supabase.from(table).insert(row).select()))[0] }
    } catch (fault) {
      if (fault.isUnanswered) throw fault
      const [found] = await rows(() => supabase.from(table).select().eq('id', row.id))
      if (!found) throw fault
      return { row: found, wasThere: true }
    }
  })
}

export function useSession() {
  const [session, set] = useState(undefined) // undefined: not known yet; null: nobody
  useEffect(() => {
    // The event `INITIAL_SESSION` comes first; `TOKEN_REFRESHED` changes nothing that is shown.
    const { data } = supabase.auth.onAuthStateChange((_, next) =>
      set((now) => (next?.user.id === now?.user.id && now !== undefined ? now : next)),
    )
    return () => data.subscription.unsubscribe()
  }, [])
  return session
}

export async function signIn(email, password) {
  const { error } = await supabase.auth.signInWithPassword({ email, password })
  if (error) throw new Refusal(error.status ? error.message : UNANSWERED, { status: error.status ?? 0 })
}

// Of this browser alone, also when the server does not answer. Nothing that was being written stays for whoever comes next.
export async function signOut() {
  sessionStorage.clear()
  await supabase.auth.signOut({ scope: 'local' })
}

// Since when nothing is answered, for the line above the pages.
export const reach = { since: null, told: new Set() }

function noteReach(answers) {
  const since = answers ? null : (reach.since ?? new Date())
  if (since === reach.since) return
  reach.since = since
  for (const tell of reach.told) tell(since)
}

// When somebody signs out: nobody else hears of that one's rows.
export const stopHearing = () => hush(supabase)

// What `load` brings, kept fresh while it can be seen: { data, fault, look }. After a failure the last data stay. `look()` looks
// now, and comes to its end when that is shown.
// `keys`: whenever one of them changes, everything is loaded anew. `every`: seconds between two looks; null: what does not
// change by itself, loaded once. `of`: the tables that tell when to look, where Realtime tells of all of them.
export function useLive(load, keys, { every = SECONDS.poll, of = [] } = {}) {
  const [state, set] = useState({ data: undefined, fault: null })
  const looking = useRef(() => {})
  useEffect(() => {
    let [turn, faults, timer, isOver] = [0, 0, 0, false]
    const later = () => {
      if (every === null && !faults) return
      const usual = of.length && of.every(isHeard) ? SECONDS.withRealtime : (every ?? SECONDS.poll)
      timer = setTimeout(look, 1000 * Math.min(SECONDS.longest, usual * 2 ** faults))
    }
    async function look() {
      clearTimeout(timer)
      if (document.hidden && turn) return
      const mine = ++turn
      try {
        const data = await load()
        if (isOver || mine !== turn) return
        faults = 0
        set({ data, fault: null })
        noteReach(true)
      } catch (fault) {
        if (isOver || mine !== turn) return
        faults = Math.min(faults + 1, 4)
        set((now) => ({ data: now.data, fault }))
        if (fault instanceof Refusal) noteReach(!fault.isUnanswered)
        else console.error(fault)
      }
      later()
    }
    set({ data: undefined, fault: null })
    looking.current = look
    const wake = () => !document.hidden && every !== null && look()
    const stops = config.realtime ? of.map((table) => hear(supabase, table, wake)) : []
    document.addEventListener('visibilitychange', wake)
    window.addEventListener('online', wake)
    look()
    return () => {
      isOver = true
      clearTimeout(timer)
      for (const stop of stops) stop()
      document.removeEventListener('visibilitychange', wake)
      window.removeEventListener('online', wake)
    }
  }, keys)
  return { ...state, look: () => looking.current() }
}

// One deed at a time, however often its button is pressed: { isBusy, fault, done, run, clear }.
// `run(deed, done)` returns whether it went well; `done` is what is said then.
export function useDeed() {
  const idle = { isBusy: false, fault: null, done: '' }
  const [state, set] = useState(idle)
  const busy = useRef(false)
  async function run(deed, done = '') {
    if (busy.current) return false
    busy.current = true
    set({ ...idle, isBusy: true })
    try {
      await deed()
      set({ ...idle, done })
      return true
    } catch (fault) {
      if (!(fault instanceof Refusal)) console.error(fault)
      set({ ...idle, fault })
      return false
    } finally {
      busy.current = false
    }
  }
  return { ...state, run, clear: () => set(idle) }
}

// The next occurrences as the daemon reckons them; null where the configuration names no address for that.
export async function preview(question) {
  if (!config.preview) return null
  const { data } = await supabase.auth.getSession()
  let answer
  try {
    answer = await fetch(`${config.preview}?${new URLSearchParams(question)}`, {
      headers: { authorization: `Bearer ${data.session?.access_token ?? ''}` },
    })
  } catch {
    throw new Refusal('The next times cannot be shown at the moment.')
  }
  const said = await answer.json().catch(() => ({}))
  if (answer.ok) return said.occurrences
  throw new Refusal(answer.status === 400 ? said.error : 'The next times cannot be shown at the moment.', answer)
}
