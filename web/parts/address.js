// The address of what is shown and its words: '#/contacts/12/new' is ['contacts', '12', 'new'].
export const hrefOf = (...path) => ['#', ...path.map(encodeURIComponent)].join('/')

export const words = () => location.hash.replace(/^#\/?/, '').split('/').filter(Boolean).map(decoded)

// Somebody may have typed it.
function decoded(word) {
  try {
    return decodeURIComponent(word)
  } catch {
    return word
  }
}

export function go(...path) {
  location.hash = hrefOf(...path)
}
