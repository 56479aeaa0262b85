// What somebody has written and not yet sent off outlives a reload, in this tab alone.
export const drafts = {
  load: (key) => JSON.parse(sessionStorage.getItem(key) ?? 'null'),
  save(key, draft) {
    try {
      sessionStorage.setItem(key, JSON.stringify(draft))
    } catch (fault) {
      // A browser keeps a few megabytes. A campaign to very many numbers outlives no reload, but may be sent off.
      if (fault.name !== 'QuotaExceededError') throw fault
    }
  },
  clear: (key) => sessionStorage.removeItem(key),
}
