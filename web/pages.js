// The pages, in the order of the menu: a new one is a file in pages/ and a line here.
// A page is { path, title, Page }; `Page` gets what follows its path in the address, split at slashes, as `rest`.
import appointments from './pages/appointments.js'
import bulk from './pages/bulk.js'
import campaigns from './pages/campaigns.js'
import connections from './pages/connections.js'
import contacts from './pages/contacts.js'
import messages from './pages/messages.js'
import templates from './pages/templates.js'

export default [contacts, messages, appointments, bulk, campaigns, templates, connections]
