// What somebody has written and not yet sent off outlives a reload, in this tab alone.
export const drafts = {
  load: (key) => JSON.parse(sessionStorage.getItem(key) ?? 'null'),
  save: (key, draft) => sessionStorage.setItem(key, JSON.stringify(draft)),
  clear: (key) => sessionStorage.removeItem(key),
}
