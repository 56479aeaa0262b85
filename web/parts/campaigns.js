// Campaigns and their runs as all pages read and change them. A campaign's audience may be megabytes: it is never in a list.
import { persist, Refusal, rows, supabase } from '../client.js'
import { html } from '../html.js'

const COLUMNS =
  'id,owner_id,connection_id,name,template_id,message,type,media_url,caption,variables,scheduled_at,timezone,zone_of,' +
  'is_recurring,recurrence_pattern,recurrence_end_at,max_recipients,at_daily_limit,status,status_reason,next_run_at,' +
  'revision,created_at,updated_at'
const RUN_COLUMNS =
  'id,campaign_id,occurrence_at,status,status_reason,total,pending,sent,failed,unconfirmed,skipped,cancelled,delivered,' +
  'read,started_at,finished_at,estimated_finish_at'
const ENDED = ['completed', 'failed', 'cancelled']

// The tables whose changes a list of campaigns follows.
export const CHANGES = ['campaigns', 'campaign_runs']

export const campaigns = () => supabase.from('campaigns')

// With each campaign its latest runs, at most so many: `runs`.
export const withRuns = (most) =>
  campaigns()
    .select(`${COLUMNS},runs:campaign_runs(${RUN_COLUMNS})`)
    .order('occurrence_at', { referencedTable: 'runs', ascending: false })
    .limit(most, { referencedTable: 'runs' })

export const isOver = (campaign) => ENDED.includes(campaign.status)
export const isUnderWay = (run) => Boolean(run && !run.finished_at)

// What a history calls it: as its run stands while one is under way, or when no other comes.
export const stateOf = (campaign, run) =>
  run && (isUnderWay(run) || (isOver(campaign) && !campaign.is_recurring)) ? run.status : campaign.status

export const State = ({ status }) => html`<span class=${`status ${status}`}>${status}</span>`

// Writing the same again changes nothing, so a lost answer does no harm.
async function write(campaign, columns) {
  return await persist(async () => {
    const [changed] = await rows(() => campaigns().update(columns).eq('id', campaign.id).select(COLUMNS))
    if (!changed) throw new Refusal('This campaign is no longer there.', { status: 409 })
    return changed
  })
}

export const setStatus = (campaign, status) => write(campaign, { status })

// In the database's words; where approval is not asked for, nothing waits for it.
export const waitsForApproval = ({ status, status_reason }) =>
  status === 'scheduled' && Boolean(status_reason?.includes('approval of another admin'))

// In one's own name. Who may is the database's to say.
export async function approve(campaign) {
  const { data } = await supabase.auth.getSession()
  return await write(campaign, { approved_by: data.session?.user.id })
}

const NUMBERS = {
  sent: 'Sent',
  delivered: 'Delivered',
  read: 'Read',
  pending: 'Pending',
  failed: 'Failed',
  unconfirmed: 'Unconfirmed',
  skipped: 'Skipped',
  cancelled: 'Cancelled',
}
const ALWAYS = ['sent', 'pending', 'failed']

// The counts of a run; those that are nothing and say nothing are left out.
export const Counts = ({ run }) =>
  html`<dl class="counts">
    <div><dt>Recipients</dt><dd>${run.total === null ? '…' : run.total.toLocaleString('en')}</dd></div>
    ${Object.entries(NUMBERS).map(
      ([name, words]) =>
        (run[name] > 0 || ALWAYS.includes(name)) &&
        html`<div key=${name} class=${`${name} ${name === 'failed' && run.failed > 0 ? 'fault' : ''}`}><dt>${words}</dt><dd>${run[name].toLocaleString('en')}</dd></div>`,
    )}
  </dl>`

export const Progress = ({ run }) =>
  html`<progress max=${run.total || 1} value=${run.total === null ? undefined : run.total ? run.total - run.pending : 1} aria-label="How much of it is done"></progress>`
