// One campaign in a list: what it is called, when, how it stands, and the counts of its latest run.
import { html } from '../html.js'
import { isUnderWay, Progress, State, stateOf } from './campaigns.js'
import { inWords } from './patterns.js'
import { When } from './time.js'
import { distance, hereZone, isZone, wallOf } from './zones.js'

const zoneOf = (campaign) => (isZone(campaign.timezone) ? campaign.timezone : hereZone)

// When it is sent next; of one that is over or under way, when it was.
export const Time = ({ campaign, run }) => {
  const zone = zoneOf(campaign)
  const at = campaign.next_run_at ?? run?.occurrence_at ?? campaign.scheduled_at
  if (!at) return html`<span class="muted">no time yet</span>`
  const repeats = campaign.is_recurring && campaign.recurrence_pattern
  return html`<${When} at=${at} zone=${zone} />
    ${campaign.next_run_at && campaign.status === 'scheduled' && html`<span class="muted">${distance(at)}</span>`}
    ${repeats && html`<span class="muted">↻ ${inWords(repeats, wallOf(campaign.scheduled_at ?? at, zone))}</span>`}`
}

const COUNTED = ['sent', 'pending', 'failed', 'unconfirmed', 'skipped', 'cancelled']

function recipientsOf({ total }) {
  if (total === null) return 'Its recipients are being gathered'
  return total === 1 ? '1 recipient' : `${total.toLocaleString('en')} recipients`
}

export function CountsInWords({ run }) {
  const counts = COUNTED.filter((name) => run[name] > 0).map((name) => `${run[name].toLocaleString('en')} ${name}`)
  return html`<p class="muted">${[recipientsOf(run), ...counts].join(' · ')}</p>`
}

// `campaign`: with its latest run (withRuns).
export function CampaignLine({ campaign, via, text = false }) {
  const [run] = campaign.runs
  const reason = isUnderWay(run) ? run.status_reason : campaign.status_reason
  return html`<article class="message campaign" aria-label=${campaign.name}>
    <div class="message-head">
      <${State} status=${stateOf(campaign, run)} />
      <${Time} campaign=${campaign} run=${run} />
    </div>
    <div class="message-body">
      <p class="who-line"><a href=${`#/campaigns/${campaign.id}`}><b><bdi>${campaign.name}</bdi></b></a> <span class="muted">by <bdi>${via}</bdi></span></p>
      ${text && campaign.message !== campaign.name && html`<p class="text" dir="auto">${campaign.message}</p>`}
      ${isUnderWay(run) && html`<${Progress} run=${run} />`}
      ${run && html`<${CountsInWords} run=${run} />`}
      ${reason && html`<p class="waits">${reason}</p>`}
    </div>
  </article>`
}
