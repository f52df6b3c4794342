// Reads what a link in a mail is about, as `#/goals/ID?reference=REF`, and shows it. Nothing is sent anywhere.
;(() => {
  const kinds = {
    cases: ['a case', 'the case'],
    goals: ['a goal', 'a goal in the case'],
    contacts: ['an appointment', 'an appointment in the case'],
    referrals: ['a referral', 'the referral'],
  }
  const at = (id) => document.getElementById(id)

  function show() {
    const [, table, reference] = /^#\/([a-z_]+)\/[\w.-]+(?:\?reference=([\w-]{1,40}))?$/.exec(location.hash) ?? []
    const known = table && Object.hasOwn(kinds, table)
    at('nothing').hidden = known
    at('link').hidden = !(known && reference)
    at('bare').hidden = !known || Boolean(reference)
    if (!known) return
    at('kind').textContent = kinds[table][0]
    at('about').textContent = kinds[table][1]
    at('reference').textContent = reference ?? ''
  }

  addEventListener('hashchange', show)
  show()
})()
