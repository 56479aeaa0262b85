// Where the pages find their project. ./scripts/stack and ./scripts/demo serve one of their own in place of this file.
export default {
  url: '', // https://….supabase.co; empty: the address of the pages themselves
  key: '', // the publishable (anon) key, never a secret one
  preview: '', // the address of the daemon's /preview; empty: no list of the next occurrences
  realtime: true, // false: do not try, and ask
  poll: 3, // seconds between two looks where there is no Realtime
}
