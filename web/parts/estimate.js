// When a campaign would begin and end as its connection sends, with what else goes out there.
import { rows, supabase, useLive } from '../client.js'
import { html } from '../html.js'
import { Waiting } from './table.js'
import { When } from './time.js'

export function Estimate({ campaign }) {
  const zone = campaign.timezone ?? undefined
  const live = useLive(
    () => rows(() => supabase.rpc('estimate_campaign', { id: campaign.id })),
    [campaign.id, campaign.updated_at],
    { every: 10 },
  )
  const [estimate] = live.data ?? []
  return html`<section class="card" aria-label="What is to be expected">
    <h3>What is to be expected</h3>
    <${Waiting} live=${live} />
    ${estimate?.reason && html`<p class="fault">${estimate.reason}</p>`}
    ${estimate?.number === 0 && !estimate.reason && html`<p>Nobody would get a message.</p>`}
    ${
      estimate?.number > 0 &&
      estimate.ends_at &&
      html`<p>
        ${estimate.is_exact ? '' : 'About '}${estimate.number === 1 ? '1 message' : `${estimate.number.toLocaleString('en')} messages`},
        ${' '}the first at <${When} at=${estimate.begins_at} zone=${zone} />, the last at about <${When} at=${estimate.ends_at} zone=${zone} />.
      </p>
      ${estimate.ahead > 0 && html`<p class="muted">${estimate.ahead.toLocaleString('en')} other messages of this connection go out before them or between them.</p>`}
      ${estimate.too_late > 0 && html`<p class="waits">${estimate.too_late.toLocaleString('en')} of them would come too late, and are not sent any more.</p>`}`
    }
  </section>`
}
