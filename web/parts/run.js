// One run of a campaign: how far it is, what became of it, and what its author may do with it.
import { insertOnce, useDeed } from '../client.js'
import { html, useState } from '../html.js'
import { Counts, isUnderWay, Progress, State } from './campaigns.js'
import { Note } from './form.js'
import { Download } from './run-download.js'
import { When } from './time.js'

const KINDS = { failed: ['failure', 'failures'], unconfirmed: ['unconfirmed', 'unconfirmed'] }

// `campaign`: { id, name, timezone, status }. `isAlone`: whether its page is the one that is open.
export function Run({ run, campaign, isAlone, onChange }) {
  const zone = campaign.timezone ?? undefined
  const deed = useDeed()
  const [answer, setAnswer] = useState(null)
  const [ids] = useState({}) // of what is asked for and not yet answered, by status: asked again, it is the same
  const isOpen = !['paused', 'cancelled'].includes(campaign.status) && run.total !== null
  // Only what came to nothing, and of that only what may come to something else: the database says whom it leaves out.
  const retry = (status) =>
    deed
      .run(async () => {
        setAnswer(null)
        ids[status] ??= crypto.randomUUID()
        setAnswer((await insertOnce('campaign_retries', { id: ids[status], run_id: run.id, statuses: [status] })).row)
        delete ids[status]
      })
      .then((went) => went && onChange())
  return html`<section class="card run" aria-label="A run">
    <div class="card-head">
      <${isAlone ? 'h2' : 'h3'}><${When} at=${run.occurrence_at} zone=${zone} /><//>
      <${State} status=${run.status} />
    </div>
    ${run.status_reason && html`<p class=${run.status === 'failed' ? 'fault' : 'waits'}>${run.status_reason}</p>`}
    ${isUnderWay(run) && html`<${Progress} run=${run} />`}
    <${Counts} run=${run} />
    <p class="muted small">
      Began <${When} at=${run.started_at} zone=${zone} />${run.finished_at && html`, ended <${When} at=${run.finished_at} zone=${zone} />`}${!run.finished_at && run.estimated_finish_at && html`, will end about <${When} at=${run.estimated_finish_at} zone=${zone} />`}
    </p>
    <div class="actions">
      ${!isAlone && html`<a class="button" href=${`#/campaigns/${campaign.id}/run/${run.id}`}>Recipients</a>`}
      <${Download} run=${run} campaign=${campaign} />
      ${Object.entries(KINDS).map(([status, [one, more]]) => isOpen && run[status] > 0 && html`<button type="button" key=${status} disabled=${deed.isBusy} onClick=${() => retry(status)}>Retry ${run[status].toLocaleString('en')} ${run[status] === 1 ? one : more}</button>`)}
    </div>
    <${Note} of=${deed} />
    <div role="status">${answer && html`<${Answer} answer=${answer} />`}</div>
  </section>`
}

const Answer = ({ answer }) =>
  html`<p class="done">${answer.retried === 1 ? '1 is' : `${answer.retried.toLocaleString('en')} are`} tried again.</p>
    <ul class="reasons">
      ${answer.left_out.map(({ reason, count }) => html`<li><b>${count.toLocaleString('en')} left out:</b> ${reason}</li>`)}
    </ul>`
