// What stands around every page: who is signed in, the menu, and the page that the address names.
import { isConfigured, reach, signIn, signOut, stopHearing, useDeed, useSession } from './client.js'
import { html, render, useEffect, useRef, useState } from './html.js'
import pages from './pages.js'
import { words } from './parts/address.js'
import { Field, Note } from './parts/form.js'
import { When } from './parts/time.js'

function usePath() {
  const [path, set] = useState(words)
  useEffect(() => {
    const follow = () => set(words())
    addEventListener('hashchange', follow)
    return () => removeEventListener('hashchange', follow)
  }, [])
  return path
}

function SignIn() {
  const deed = useDeed()
  const submit = (event) => {
    event.preventDefault()
    const given = new FormData(event.target)
    deed.run(() => signIn(given.get('email'), given.get('password')))
  }
  return html`<main class="narrow">
    <h1>Scheduled messages</h1>
    <form class="card stack" onSubmit=${submit}>
      <${Field} label="E-mail"><input name="email" type="email" autocomplete="username" required /><//>
      <${Field} label="Password">
        <input name="password" type="password" autocomplete="current-password" required />
      <//>
      <${Note} of=${deed} />
      <button class="primary" disabled=${deed.isBusy}>Sign in</button>
    </form>
  </main>`
}

// Says since when nothing is answered: what is shown below is from then.
function Reach() {
  const [since, set] = useState(reach.since)
  useEffect(() => {
    reach.told.add(set)
    return () => reach.told.delete(set)
  }, [])
  return html`<div role="status">
    ${since && html`<p class="banner">The server has not answered since <${When} at=${since} time />. What is shown is from then.</p>`}
  </div>`
}

function Shell({ session }) {
  const [name, ...rest] = usePath()
  const page = pages.find((one) => one.path === name) ?? pages[0]
  const heading = useRef()
  const isFirst = useRef(true)
  useEffect(() => stopHearing, [])
  useEffect(() => {
    document.title = `${page.title} – Scheduled messages`
    if (!isFirst.current) heading.current.focus() // so that a screen reader says where one is now
    isFirst.current = false
  }, [page])
  return html`<header class="top">
      <a class="skip" href="#main" onClick=${(event) => {
        event.preventDefault()
        heading.current.focus()
      }}>To the page</a>
      <strong class="brand"><img src="icon.svg" alt="" width="24" height="24" />Scheduled messages</strong>
      <nav aria-label="Pages">
        ${pages.map(
          (one) => html`<a href=${`#/${one.path}`} aria-current=${one === page ? 'page' : undefined}>${one.title}</a>`,
        )}
      </nav>
      <div class="who">
        <span class="muted" title=${session.user.email}>${session.user.email}</span>
        <button class="plain" onClick=${signOut}>Sign out</button>
      </div>
    </header>
    <${Reach} />
    <main>
      <h1 tabindex="-1" ref=${heading}>${page.title}</h1>
      <${page.Page} key=${page.path} rest=${rest} user=${session.user} />
    </main>`
}

function App() {
  const session = useSession()
  if (session === undefined) return null
  return session ? html`<${Shell} key=${session.user.id} session=${session} />` : html`<${SignIn} />`
}

const Unconfigured = () =>
  html`<main class="narrow">
    <h1>Scheduled messages</h1>
    <p role="alert">Put the project's address and its publishable key into <code>config.js</code>: never the service key.</p>
  </main>`

render(isConfigured ? html`<${App} />` : html`<${Unconfigured} />`, document.body)
