// Reads what a link in a mail is about, as `#/goals/ID?reference=REF`, and shows it. Nothing is sent anywhere.
;(() => {
  const kinds = {
    cases: 'a case',
    goals: 'a goal',
    contacts: 'an appointment',
    referrals: 'a referral',
  }
  const at = (id) => document.getElementById(id)

  function show() {
    const [, table, reference] = /^#\/([a-z_]+)\/[\w.-]+(?:\?reference=([\w-]{1,40}))?$/.exec(location.hash) ?? []
    const known = table && Object.hasOwn(kinds, table)
    at('nothing').hidden = known
    at('link').hidden = !(known && reference)
    at('bare').hidden = !known || Boolean(reference)
    if (!known) return
    for (const id of ['kind', 'about']) at(id).textContent = kinds[table]
    at('reference').textContent = reference ?? ''
  }

  addEventListener('hashchange', show)
  show()
})()
