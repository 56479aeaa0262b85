// Furnishes the pages for ./scripts/demo --stay and ./scripts/pictures: somebody with contacts, messages that go out while one
// looks, a series, a failure with advice, a hospital's appointments. Written as a page writes it, with a user's token
// (the limit of a connection alone is an operator's). Prints who it is, as JSON.
import { createClient } from '@supabase/supabase-js'

const { SUPABASE_URL, SUPABASE_ANON_KEY, SUPABASE_SERVICE_ROLE_KEY } = process.env
const supabase = createClient(SUPABASE_URL, SUPABASE_ANON_KEY)
const email = `asha.${Date.now().toString(36)}@example.com`
const password = 'correct horse battery staple'
const ZONE = 'Asia/Kolkata'
const DAY = 86_400

const inSeconds = (seconds) => new Date(Date.now() + seconds * 1000).toISOString()
// Nine o'clock in Kolkata on the day after so many days.
const atNine = (days) => `${new Date(Date.now() + days * DAY * 1000).toISOString().slice(0, 10)}T03:30:00Z`

async function must(call) {
  const { data, error } = await call
  if (error) throw new Error(error.message)
  return data
}

await must(supabase.auth.signUp({ email, password }))
const [reception, pharmacy] = await must(
  supabase
    .from('connections')
    .insert([
      { name: 'Reception', phone_number: '+91 22 5550 0100' },
      { name: 'Pharmacy', phone_number: '+91 22 5550 0200' },
    ])
    .select(),
)
// What an operator sets, with the service key: the Pharmacy sends two messages a day.
await must(
  createClient(SUPABASE_URL, SUPABASE_SERVICE_ROLE_KEY).from('connection_settings').insert({
    connection_id: pharmacy.id,
    daily_limit: 2,
    messages: 15,
    period_seconds: 60,
    timezone: ZONE,
  }),
)
const people = await must(
  supabase
    .from('contacts')
    .insert([
      { contact_name: 'Asha Rao', phone_number: '+91 98765 43210', labels: ['patients'] },
      { contact_name: 'Bruno Costa', phone_number: '+55 11 98765 4321', labels: ['patients'] },
      { contact_name: 'Giulia Rossi', phone_number: '+39 345 678 9012', labels: ['patients', 'opticians'] },
      { contact_name: 'مريم السويدي', phone_number: '+971 50 123 4567', labels: ['patients'] },
      { contact_name: 'राहुल शर्मा', phone_number: '+91 98200 12345', labels: ['patients'] },
      { contact_name: 'Tom Baker', phone_number: '+1234', labels: ['patients'] },
    ])
    .select(),
)
const [asha, bruno, giulia, maryam, rahul, tom] = people.map((one) => String(one.id))
const base = { connection_id: reception.id, type: 'text', status: 'pending', timezone: ZONE }
const series = { is_recurring: true }

const messages = [
  { contact_id: asha, message: 'Dear Asha, your appointment with Dr. Mehta is confirmed.', scheduled_at: inSeconds(0) },
  { contact_id: rahul, message: 'नमस्ते राहुल, आपकी जाँच की रिपोर्ट तैयार है।', scheduled_at: inSeconds(0) },
  {
    contact_id: asha,
    message: 'Good morning! Please take your medicine with a glass of water.',
    scheduled_at: inSeconds(1),
    recurrence_pattern: 'daily',
    ...series,
  },
  { contact_id: tom, message: 'Your report is ready.', scheduled_at: inSeconds(0) },
  ...['Giulia, we are open until seven today.', 'Your glasses can be picked up.', 'Thank you for coming in today.'].map(
    (message, n) => ({ contact_id: giulia, message, scheduled_at: inSeconds(20 + 20 * n), timezone: 'Europe/Rome' }),
  ),
  { contact_id: asha, message: 'See you tomorrow at nine. Please bring your insurance card.', scheduled_at: atNine(1) },
  {
    contact_id: asha,
    type: 'image',
    message: '',
    media_url: 'https://example.com/how-to-find-us.png',
    caption: 'How to find us: the second door on the left.',
    scheduled_at: atNine(2),
  },
  {
    contact_id: maryam,
    message: 'موعدك غدًا في الساعة التاسعة صباحًا.',
    scheduled_at: atNine(1),
    timezone: 'Asia/Dubai',
  },
  {
    contact_id: bruno,
    message: 'Boa tarde, Bruno! The first Monday of the month is check-up day.',
    scheduled_at: atNine(5),
    recurrence_pattern: 'RRULE:FREQ=MONTHLY;BYDAY=1MO',
    timezone: 'America/Sao_Paulo',
    ...series,
  },
  ...[3, 3, 3, 8, 9, 12].map((days) => ({
    contact_id: rahul,
    message: 'Reminder: your follow-up visit is tomorrow.',
    scheduled_at: atNine(days),
  })),
  // More than the Pharmacy's limit for a day lets through: what is beyond it waits, and says so.
  ...[asha, giulia, rahul].map((contact_id, n) => ({
    connection_id: pharmacy.id,
    contact_id,
    message: 'Your prescription can be collected.',
    scheduled_at: inSeconds(2 + n),
  })),
]
const keys = [...new Set(messages.flatMap(Object.keys))]
const empty = Object.fromEntries(keys.map((key) => [key, null]))
await must(
  supabase
    .from('scheduled_messages')
    .insert(messages.map((message) => ({ ...empty, is_recurring: false, ...base, ...message }))),
)
// A campaign that goes out while one looks: everybody with the label gets it, but for the one whose number is none.
const [template] = await must(
  supabase
    .from('message_templates')
    .insert({
      name: 'Check-up',
      body: 'Dear {name}, it is time for your yearly check-up. Reply to book one {when}.',
      defaults: { when: 'this week' },
      category: 'marketing',
    })
    .select(),
)
const campaign = {
  connection_id: reception.id,
  name: 'Yearly check-up',
  template_id: template.id,
  audience: { labels: ['patients'] },
  timezone: ZONE,
}
const [, draft] = await must(
  supabase
    .from('campaigns')
    .insert([
      { ...campaign, scheduled_at: inSeconds(30), status: 'scheduled' },
      { ...campaign, name: 'Next year', scheduled_at: atNine(365), status: 'draft' },
    ])
    .select(),
)
await must(supabase.from('campaign_rehearsals').upsert({ campaign_id: draft.id }))
// A hospital that confirms, reminds and follows up by itself: its texts, its desk's day, and a number that is none.
const [hospital] = await must(
  supabase.from('connections').insert({ name: 'City Hospital', phone_number: '+91 22 5550 0300' }).select(),
)
await must(
  supabase.from('connection_settings').upsert({ connection_id: hospital.id, timezone: ZONE, country_code: 'IN' }),
)
await must(supabase.rpc('set_up_reminders', { connection_id: hospital.id }))
// The wall of Kolkata after so many hours, at a full quarter of an hour: ['2026-11-26', '14:30'].
const wall = (hours) => {
  const quarter = 15 * 60_000
  const at = Math.ceil((Date.now() + hours * 3_600_000) / quarter) * quarter + 5.5 * 3_600_000
  return new Date(at).toISOString().slice(0, 16).split('T')
}
const [day, soon] = wall(2)
const booked = (patient_name, mobile, time, doctor_name, others = {}) => ({
  connection_id: hospital.id,
  date: day,
  patient_name,
  mobile,
  time,
  doctor_name,
  specialty: null,
  followup_date: null,
  ...others,
})
const appointments = await must(
  supabase
    .from('appointments')
    .insert([
      booked('Rahul Sharma', '98765 43210', soon, 'Mehta', { specialty: 'Ortho' }),
      booked('Asha Rao', '98765 43211', '00:15', 'Iyer', { followup_date: wall(7 * 24)[0] }),
      booked('Meera Nair', '98765', soon, 'Mehta'),
      booked('Farid Khan', '98200 12345', '10:30', 'Iyer', { date: wall(3 * 24)[0] }),
    ])
    .select(),
)
await must(supabase.from('appointments').update({ status: 'visited' }).eq('id', appointments[1].id))
console.log(
  JSON.stringify({ email, password, pharmacy: pharmacy.id, asha, draft: draft.id, hospital: hospital.id, day }),
)
process.exit(0)
