// The address of what is shown, '#/contacts/12/new', of its words; app.js takes it apart again.
export const hrefOf = (...path) => ['#', ...path.map(encodeURIComponent)].join('/')

export function go(...path) {
  location.hash = hrefOf(...path)
}
