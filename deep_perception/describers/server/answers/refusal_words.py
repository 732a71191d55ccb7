"""The words of a refusal in many languages: apologies, and what a model says that it cannot do."""

from __future__ import annotations

import re

# What a model says that it cannot do. "I can't even" on a shirt is not among it.
DO = (
    r"(?:help|assist|see|view|identify|recogni[sz]e|describe|determine|tell|provide|process|"
    r"analy[sz]e|answer|comply|fulfil+|generate|discern|make out|interpret|access|confirm|"
    r"do (?:that|this)|complete|engage|discuss|create|comment|detect|give|offer|perceive|"
    r"directly|really|reliably|accurately|actually|visually|be (?:sure|certain)|say|name)\b"
)
# Apology, and what follows it within a sentence or two; the second alone is a refusal as well.
LANGUAGES: tuple[tuple[str, str], ...] = (
    (  # English
        r"(?:oh,? |oops,? )?(?:(?:i'?m|i am|we'?re|my) )?(?:(?:very|so|really|truly|deeply|"
        r"sincere) )*"
        r"(?:sorry|apolog(?:y|ies|i[sz]e))|i (?:sincerely )?apologi[sz]e|unfortunately|regrettably|"
        r"i'?m afraid|i regret|however|thank you|thanks for",
        rf"i (?:still |currently |simply )?(?:can(?:no|')?t|can not|could ?n[o']t|won'?t|will not|"
        rf"would ?n[o']t|am unable to|am not able to|do ?n[o']t feel able to) {DO}|"
        rf"i (?:won'?t|will not) be able to {DO}|"
        rf"(?:i'?m|i am|we'?re) (?:currently |still )?(?:unable|not able) to\b|"
        r"i (?:must|have to|need to) (?:decline|refuse)|i do ?n[o']t (?:see|understand|know|"
        r"have (?:the|an?y?|access|"
        r"enough|sufficient|visual))\b|i (?:can(?:no|')?t|do ?n[o']t) (?:\w+ )?(?:any |the |an? |"
        r"your )?"
        r"(?:image|picture|photo)|(?:i'?m|i am) (?:just|only) (?:able\b|an? (?:\w+[- ])?(?:ai|"
        r"language|text|bot|assistant))|"
        r"i did ?n[o']t (?:receive|get|see)|(?:i'?m|i am) not (?:programmed|designed|allowed|"
        r"permitted|capable|comfortable)|as an? (?:\w+[- ])?(?:ai|artificial intelligence)"
        r"(?: (?:large|language|model|assistant|system|chatbot|agent))*\s*,\s*(?:i|my)\b|"
        r"(?:as|i'm|i am) an? (?:\w+[- ]){0,2}(?:language model|text[- ](?:based|only))|"
        r"(?:it (?:looks like|seems|appears)(?: that)? )?(?:there (?:is|was) |there's )?no "
        r"(?:image|picture|photo)s? (?:(?:was |is |has been |were )(?:visible|found|included|"
        r"available)|"
        r"(?:was |is |has been |were )?(?:provided|attached|given|uploaded|received))|"
        r"(?:it (?:looks like|seems|appears)(?: that)? )?you (?:have ?n[o']t|did ?n[o']t) (?:yet )?"
        r"(?:upload|provide|attach|share|sen[dt]|includ)|"
        r"(?:the|your|this) (?:image|picture|photo)s? (?:was |is |has |did |does |could |"
        r"were )?(?:not|n't) "
        r"(?:been )?(?:provided|visible|available|attached|shown|load|accessible|display|included|"
        r"uploaded|found|come through|received)|i (?:can(?:no|')?t|can not)\W*$|"
        r"(?:it is|it's) (?:not possible|impossible) to (?:identify|determine|describe|tell|say|"
        r"see)|"
        r"(?:unable|not able) to (?:identify|determine|recogni[sz]e|describe|discern|help|assist|"
        r"see|"
        r"provide|process|analy[sz]e|view)\b|(?:cannot|can't) (?:be )?(?:identif|determin|recogni|"
        r"describ|"
        r"discern|assist)|(?:this|the|your) (?:request|content|image|prompt) violates|"
        r"(?:could you |can you )?(?:please )(?:provide|upload|share|attach|send) "
        r"(?:me )?(?:the|an|a|your|more|another)\b|this (?:request|content) (?:violates|"
        r"goes against)",
    ),
    # German, Dutch, Swedish, Norwegian, Danish, Finnish, Icelandic
    (
        r"es tut mir (?:sehr |wirklich )?leid|tut mir leid|(?:ich )?(?:bitte um )?entschuldig\w*|"
        r"leider|"
        r"verzeihung|sorry|bedaure|ich bedauere?",
        r"(?:ich (?:kann|könnte|darf|konnte)|(?:(?:dabei|damit|das|dies|hier) )?(?:kann|darf|"
        r"konnte) ich)\b"
        r".{0,60}?\b(?:nichts?|keine?[nm]?)\b|"
        r"ich (?:bin nicht|sehe (?:kein|nichts)|habe kein)|bin ich nicht|es (?:ist|"
        r"war) mir (?:leider )?"
        r"nicht|als (?:ki|sprachmodell|künstliche)\b",
    ),
    (
        r"het spijt me|sorry|helaas|excuses|mijn excuses",
        r"(?:ik kan|kan ik)\b.{0,60}?\b(?:niet|geen)\b|ik (?:ben niet|zie geen)|als (?:ai|"
        r"taalmodel)\b",
    ),
    (
        r"(?:jag är )?(?:ledsen|förlåt)|tyvärr|beklager|(?:jeg )?(?:er )?(?:lei|ked af det)|"
        r"undskyld|"
        r"dessverre|desværre|jag beklagar|unnskyld|ursäkta",
        r"(?:men )?(?:jag kan (?:\w+ )?inte|kan jag (?:\w+ )?inte|jeg kan (?:\w+ )?ikke|"
        r"kan jeg (?:\w+ )?ikke|jag ser ing|jeg ser ing|jag har ing)|som (?:en )?(?:ai|"
        r"språkmodell)",
    ),
    (
        r"anteeksi|pahoittelen|valitettavasti|olen pahoillani|því miður|fyrirgefðu|afsakið",
        r"(?:mutta )?(?:en (?:voi|pysty|näe|kykene)|minä en)|tekoälynä|"
        r"(?:en )?ég get (?:\w+ )?ekki|get ég ekki",
    ),
    # French, Spanish, Portuguese, Italian, Catalan, Romanian
    (
        r"(?:je (?:suis|m['’]|vous prie de m['’])\s?\w*|tous? mes)?\s?(?:vraiment )?(?:désolée?|"
        r"excuses?[rz]?)|"
        r"malheureusement|pardon|je regrette",
        r"(?:mais )?je n(?:e |['’])(?:peux|suis|vois|dispose|ai|parviens|arrive|sais|"
        r"reconnais)\w*|je (?:ne peux|n['’]ai|ne suis|"
        r"ne vois)|"
        r"en tant qu(?:e |['’])(?:ia|intelligence|assistant|(?:un )?modèle)|il m['’]est impossible|"
        r"aucune image n",
    ),
    (
        r"lo (?:siento|lamento)|perd[oó]n(?:a|e|ame|eme)?|disculpa(?:s|me|e)?|lamentablemente|"
        r"desafortunadamente|por desgracia|me disculpo",
        r"(?:pero )?(?:yo )?no (?:puedo(?! m[aá]s)|pude|tengo|veo|soy capaz|me es posible|estoy|"
        r"es posible "
        r"(?:ver|identificar|determinar|describir))|como (?:modelo|ia\b|asistente|inteligencia)",
    ),
    (
        r"desculpe\w*|sinto muito|lamento|infelizmente|perdão|peço desculpas?|me desculpe",
        r"(?:mas )?(?:eu )?não (?:posso|consigo|tenho|vejo|sou capaz|estou|é possível (?:ver|"
        r"identificar|"
        r"determinar|descrever))|como (?:um )?(?:modelo|ia\b|assistente|inteligência)",
    ),
    (
        r"mi (?:dispiace|scuso)|spiacente|purtroppo|scusa(?:mi|te|temi)?|chiedo scusa|"
        r"sono spiacente|"
        r"ho sento|em sap greu|malauradament|disculpeu?|îmi pare rău|scuze|din păcate|mă scuzați",
        r"(?:ma )?(?:io )?non (?:posso|riesco|sono in grado|vedo|ho\b|mi è possibile)|"
        r"come (?:modello|ia\b|"
        r"intelligenza)|(?:però )?no (?:puc|puc|tinc|veig)|(?:dar )?(?:eu )?nu (?:pot|văd|am\b|"
        r"sunt|îmi este)",
    ),
    # Polish, Czech, Slovak, Slovene, Croatian, Serbian, Hungarian, Baltic languages, Estonian
    (
        r"przepraszam|niestety|przykro mi|wybacz(?:cie)?|omlouvám se|(?:je mi (?:to )?)?líto|"
        r"bohužel|"
        r"promiňte?|žal|ospravedlňujem sa|prepáčte?|ľutujem|žiaľ|žal mi je|oprostite?|"
        r"opravičujem se|"
        r"nažalost|"
        r"(?:ž|ne)ao mi je|ispričavam se|izvini(?:te)?|na žalost|oprosti",
        r"(?:ale |ali )?(?:nie (?:mogę|jestem|widzę|mam)|nemohu|nemůžu|nevidím|nejsem|"
        r"nedokážu|nemôžem|nevidím|nedokážem|ne morem|ne vidim|ne mogu|nisam|nisem|nemam)|"
        r"jako (?:model|ai\b|sztuczna|jazykový)|kao (?:ai|jezični|jezički)",
    ),
    (
        r"sajnálom|sajnos|elnézést|bocsánat\w*|atsiprašau|apgailestauju|atvainojiet|diemžēl|"
        r"piedodiet|vabandust|vabandan|kahjuks|më vjen keq|fatkeqësisht|na vjen keq",
        r"(?:de )?nem (?:tudok|tudom|látok|látom|vagyok|áll módomban)|(?:bet )?(?:aš )?(?:negaliu|"
        r"nematau)|"
        r"(?:bet )?(?:es )?(?:nevaru|neredzu)|(?:kuid |aga )?ma ei|nuk (?:mund|shoh)",
    ),
    # Russian, Ukrainian, Belarusian, Bulgarian, Serbian, Macedonian, Greek
    (
        r"(?:мне (?:очень )?жаль|извин\w*|прост(?:и|ите)|к сожалению|сожалею|"
        r"приношу (?:свои )?извинения|"
        r"вибач(?:те|аюсь|ення)?|на жаль|перепрошую|выбачайце|на жаль|прабачце|съжалявам|"
        r"за съжаление|"
        r"извинявам се|нажалост|на жалост|жао ми је|опростите|се извинувам)",
        r"(?:но |але )?(?:я )?не (?:могу|вижу|в состоянии|имею|способ(?:ен|на)|можу|бачу|маю|магу|"
        r"бачу|мога|виждам|"
        r"съм|можам|гледам|видим)|как (?:ии\b|языковая|искусственный|модель)|як (?:ші\b|мовна)",
    ),
    (
        r"λυπάμαι|συγγνώμη|δυστυχώς|με συγχωρείτε|ζητώ συγγνώμη",
        r"(?:αλλά )?(?:δεν (?:μπορώ|βλέπω|είμαι|έχω|είναι δυνατ))|ως (?:γλωσσικό|τεχνητή)",
    ),
    # Turkish, Azerbaijani, Kazakh, Uzbek, Georgian, Armenian
    (
        r"üzgünüm|maalesef|özür dilerim|ne yazık ki|kusura bakma\w*|üzr istəyirəm|təəssüf ki|"
        r"bağışlayın|"
        r"кешір\w*|өкінішке орай|kechiras\w*|afsuski|uzr|ვწუხვარ|უკაცრავად|სამწუხაროდ|ბოდიში|"
        r"ներեցեք|ցավոք|կներեք|ցավում եմ",
        r".*?(?:(?:ya|ye)?m[ıiuü]yorum\b|\w+(?:amam|emem)\b|bilmiyorum|değilim|göremiyorum|"
        r"bilmirəm|"
        r"bilmərəm|алмаймын|көре алмай|olmayman|ko‘ra olmayman|არ შემიძლია|ვერ |չեմ (?:կարող|"
        r"տեսնում))",
    ),
    # Arabic, Persian, Urdu, Hebrew
    (
        r"(?:أنا )?(?:عذر[اًا]+|آسف[ةه]?|أعتذر|للأسف|نعتذر|أعذرني|معذرة)",
        r"(?:ولكن(?:ني)?|لكن(?:ني)?)?\s?(?:لا (?:أستطيع|يمكنني|أرى|أملك|أقدر)|لست قادر|لم أتمكن|"
        r"ليس (?:لدي|بإمكاني)|غير قادر|يتعذر علي|كنموذج|بصفتي)",
    ),
    (
        r"متأسفم|متاسفم|ببخشید|متأسفانه|متاسفانه|عذرخواهی می.?کنم|معذرت|پوزش|معاف کیجیے|"
        r"معذرت خواہ ہوں|"
        r"افسوس|بدقسمتی سے|میں معذرت",
        r".*?(?:من )?(?:نمی.?(?:توانم|بینم|تونم)|قادر نیستم|به عنوان (?:یک )?(?:مدل|هوش)|"
        r"میں .{0,60}?(?:سکتا|سکتی))",
    ),
    (
        r"(?:אני )?(?:מצטער(?:ת)?|מתנצל(?:ת)?|סליחה|לצערי)",
        r"(?:אבל )?(?:אני )?(?:לא (?:יכול|יכולה|רואה|מסוגל)|אינני|איני)|כמודל",
    ),
    # Hindi, Marathi, Nepali, Bengali, Punjabi, Gujarati, Tamil, Telugu, Kannada, Malayalam, Sinhala
    (
        r"(?:मुझे (?:खेद|माफ़|माफ)|क्षमा|माफ़|माफ|खेद|दुर्भाग्य|मला माफ|क्षमस्व|माफ गर्नु)\w*",
        r".*?(?:मैं|मी|म) .*?(?:नहीं|नाही|सकता|सकती|असमर्थ|अक्षम|शकत|सक्दि)",
    ),
    (
        r"(?:দুঃখিত|আমি দুঃখিত|ক্ষমা|মাফ|ਮਾਫ਼|ਮੁਆਫ਼|ਮਾਫ|ਖਿਮਾ|માફ|ક્ષમા|દિલગીર|ଦୁଃଖିତ|ক্ষমা)",
        r".*?(?:আমি|ਮੈਂ|હું|ମୁଁ) .*?(?:পারি না|পারছি না|পারব না|না|ਨਹੀਂ|ਸਕਦ|નથી|શકત|ନାହିଁ)",
    ),
    (
        r"(?:மன்னிக்க|வருந்த|க்ஷமிக்க|క్షమించ|మన్నించ|ಕ್ಷಮಿಸಿ|ಕ್ಷಮೆ|ക്ഷമിക്ക|ക്ഷമിക്കണം|സമാവ|සමාව|"
        r"කණගාටුයි)",
        r".*?(?:என்னால்|நான்|నేను|నాకు|ನಾನು|ನನಗೆ|എനിക്ക്|ഞാൻ|මට|මම)",
    ),
    # Chinese, Japanese, Korean
    (
        r"(?:非常|很|十分|真的|实在|實在)?(?:抱歉|对不起|對不起|不好意思|遗憾|遺憾|可惜)",
        r".{0,12}?(?:但|但是)?(?:我(?!们|們)(?:目前|现在|暫時|暂时|还|還)?(?:无法|無法|不能|不会|"
        r"看不|没有|沒有|没法|不可以|是一|"
        r"只是|只能|并不|不具备|不了解)|(?:无法|無法|不能)(?:识别|識別|提供|描述|查看|看到|看清|"
        r"辨认|确定|帮助|協助|协助|回答|满足|处理|"
        r"分析|判断|显示图)|(?:作为|作為)(?:一个|一個|一名)?(?:ai|人工智能|人工智慧|语言|語言|"
        r"大语言|助手)|"
        r"(?:没有|沒有|未)(?:提供|看到|收到|上传|上傳|检测到)(?:任何)?(?:图|圖|照片)|您(?:没有|還|"
        r"还)|いたし)",
    ),
    (
        r"(?:大変)?(?:申し訳(?:ありません|ございません|ない)|すみません|ごめんなさい|"
        r"恐れ入りますが|残念ながら|失礼)\w*",
        r".{0,60}?(?:(?:説明|特定|識別|判断|判別|確認|手伝い|提供|認識|回答|答え|応え|対応|記述|"
        r"描写|表示|閲覧|処理|分析|"
        r"解析|見る|読み取る)[^。]{0,8}?(?:(?:でき|出来)(?:ません|かねます|ない|ず)|"
        r"いたしかねます)|見えません|(?:わ|"
        r"分)かりません|"
        r"画像が(?:提供|見|添付)|aiとして|言語モデル)",
    ),
    (
        r"(?:정말 |대단히 )?(?:죄송(?:합니다|하지만|해요)?|미안(?:합니다|하지만|해요)?|"
        r"유감(?:스럽게도)?|안타깝게도)",
        r".{0,60}?(?:(?:식별|설명|확인|도와|도움|제공|판단|인식|답변|분석|묘사|말씀|알려|볼|"
        r"알)\S{0,8}? ?(?:할 |드릴 )?"
        r"수(?:가|는)? 없|보이지 않|인공지능|언어 모델)",
    ),
    # Thai, Lao, Khmer, Burmese, Vietnamese, Indonesian, Malay, Filipino, Swahili, Amharic
    (
        r"(?:ขออภัย|ขอโทษ|เสียใจ|น่าเสียดาย|ຂໍໂທດ|ຂໍອະໄພ|សូមអភ័យទោស|សុំទោស|សូមទោស|တောင်းပန်|"
        r"ဝမ်းနည်း|ခွင့်လွှတ်)",
        r".{0,40}?(?:(?:ฉัน|ผม|ดิฉัน)ไม่สามารถ|ไม่สามารถ(?:ระบุ|อธิบาย|ช่วย|เห็น|มองเห็น|บอก|ให้|"
        r"ตอบ|วิเคราะห์)|มองไม่เห็น|"
        r"ຂ້ອຍບໍ່ສາມາດ|ខ្ញុំមិនអាច|ကျွန်(?:ုပ်|တော်|မ).{0,40}?(?:မရ|မနိုင်|မတတ်|မမြင်))",
    ),
    (
        r"(?:tôi (?:rất )?)?(?:xin lỗi|rất tiếc|tiếc là|đáng tiếc)|(?:mohon )?ma['’]?af(?:kan)?|"
        r"sayangnya|"
        r"pasensya(?: na)?|paumanhin|sa kasamaang palad|samahani|pole sana|kwa bahati mbaya|ይቅርታ|"
        r"አዝናለሁ|jammer|"
        r"уучлаарай|mi bedaŭras|barkatu|síntoo|mae['’]n ddrwg gen i|tá brón orm|"
        r"ongelukkig|ek is jammer|ma binu|yi haƙuri|uxolo|ngiyaxolisa",
        r".{0,30}?(?:tôi (?:\w+ )?(?:không|chưa)|mình không|saya (?:\w+ )?(?:tidak|tak)|aku tidak|"
        r"(?:pero )?hindi ko|hindi ako|(?:lakini )?si(?:wezi|oni)|አልችልም|ማየት አልችል|"
        r"чадахгүй|mi ne povas|ezin dut|non podo|ni allaf|ní féidir liom|"
        r"ek kan (?:\w+ )?nie|"
        r"kan ek nie|mi o le|ba zan iya|andikwazi|angikwazi)",
    ),
)  # fmt: skip
# What needs no apology before it, where the table above has something that may follow anything; and
# what a model that sees no image asks for, anywhere in a text.
ALONE = (
    r"(?:(?:hi|hello|hey)(?: there)?\W+|(?:您好|你好)\W+)(?:"
    r"i (?:can(?:no|')?t|do ?n[o']t) (?:\w+ )?(?:any |the |an? |your )?(?:image|picture|photo)|"
    r"您(?:似乎|好像)?(?:还|還)?(?:没有|沒有|未)|.{0,8}我(?:暂时|目前)?(?:无法|無法|不能))|"
    rf"i(?:'m|'d| am| would| understand| appreciate)\b[^.\"“]{{0,60}}\bbut,? i (?:can(?:no|')?t|"
    rf"can not|do ?n[o']t|won't|am (?:unable|not able) to) {DO}|"
    r"(?:without|to) (?:see(?:ing)?|describe|identify|access|"
    r"view(?:ing)?) [^.\"“]{0,60},? i (?:cannot|"
    r"can't|would need|need|am unable)\b|(?:identifying|"
    r"describing) [^.\"“]{0,40} is something (?:that )?i "
    r"(?:can|can't|cannot|won't|am)|there (?:does ?n[o']t|do ?n[o']t) (?:appear|"
    r"seem) to be an? (?:image|"
    r"picture|photo)|(?:your|the) (?:message|request|prompt) (?:did|does|do)(?: not|"
    r"n't) (?:include|"
    r"contain|have) (?:an|any|the) (?:image|picture|photo)|(?:image )?description (?:is )?(?:not |"
    r"un)"
    r"(?:available|possible|provided)\W*$|no (?:image )?description (?:is |was )?(?:available|"
    r"possible|"
    r"provided)\W*$|"
    r"es (?:wurde|ist|liegt|gibt) (?:leider )?kein bild|das bild (?:ist|kann|"
    r"konnte) (?:leider )?nicht|"
    r"no se (?:ha|puede|pudo) .{0,30}\bimagen|(?:nenhuma|nessuna) (?:imagem|immagine) (?:foi|está|"
    r"è|"
    r"fornita)|non (?:è|e) stata (?:fornita|allegata|caricata)|er is geen (?:afbeelding|foto)|"
    r"изображени[ея] (?:не (?:предоставлен|загруж|прикреп|доступ)|отсутствует)|لا (?:توجد|"
    r"يوجد) (?:أي )?صور|"
    r"कोई (?:छवि|चित्र|तस्वीर|फ़ोटो) .{0,20}नहीं|"
    r"(?:由于|因为|图片|图像|照片|画面|内容|该|此|这)[^“”\"「『]{0,20}(?:无法|無法|不能)(?:识别|"
    r"識別|描述|"
    r"回答|辨认|查看|提供|确定|判断)(?!的|出的)|"
    r"(?:この)?画像(?:を|が|は|に(?:ついて|関して))?[^「『\"]{0,16}(?:でき|見え|出来)ません|"
    r"(?:저는 |제가 )?(?:이 |해당 |제공된 )?(?:이미지|사진|그림)(?:를|을|은|"
    r"는)? (?:\S+ ){0,2}?수(?:가|는)? 없|"
    r"(?:your|this|the) (?:request|content|image|prompt|message) (?:was|has been|may|might|is|"
    r"cannot|"
    r"could not|contains|violates)\b.{0,60}(?:polic(?:y|ies)|flagged|filtered|safety|guidelines|"
    r"blocked|"
    r"processed|violat)|\[?content (?:was |has been )?(?:blocked|removed|filtered|flagged)\b|"
    r"(?:the |this |requested )?(?:image|picture) (?:is |was )?(?:not (?:available|found|provided|"
    r"loaded|"
    r"visible)|unavailable)\W*$|(?:the|this) (?:image|picture|photo|region|object|area) (?:is|"
    r"appears|seems) "
    r"too \w+[^.]{0,30} to (?:identify|determine|tell|describe|see|make|recogni|discern|"
    r"be identified)|"
    r"i (?:need|require) (?:an?|the|more|to see) .{0,20}(?:image|picture|information|context)|"
    r"我是(?:一个|一個)?\w{0,8}(?:模型|助手)|(?:图片|图像|画面|区域)?\w{0,4}(?:无法|無法)(?:识别|"
    r"識別|辨认|确定|判断|看清|描述)(?!的)|"
    r"ich bin (?:nur )?(?:ein|eine) (?:\w+ )?(?:sprachmodell|textmodell|ki)\b|"
    r"je suis un (?:modèle|assistant)|"
    r"soy un (?:modelo|asistente)|sono un (?:modello|assistente)|sou um (?:modelo|assistente)|"
    r"я (?:языковая модель|ии\b|искусственный)|画像(?:を|が)\w{0,8}(?:でき|見え|出来)ません|"
    r"मैं .{0,40}नहीं .{0,20}(?:सकता|सकती|पा रह)|\w* ?(?:göremiyorum|tanımlayamıyorum|"
    r"yardımcı olamıyorum)|"
    r"tôi (?:không (?:thể|nhìn)|chưa thể)|saya (?:tidak|tak) (?:dapat|bisa|boleh|mampu|melihat)|"
    r"من .{0,30}نمی.?(?:توانم|بینم)|আমি .{0,40}(?:পারি না|পারছি না|পারব না)|என்னால் |"
    r"(?:作为|作為)(?:一个|一個|一名|一款)?(?:ai|人工智能|人工智慧|语言|語言|大语言|大型语言)|"
    r"我(?:目前|现在|暂时|還|还)?(?:无法|無法|不能|没法)(?:直接)?(?:查看|看到|识别|識別|描述|确定|"
    r"辨认|提供|回答|协助|帮助|处理|分析)|"
    r"(?:没有|沒有|未)(?:提供|看到|收到|上传|上傳|检测到)(?:任何)?(?:图|圖|照片)|"
    r"(?:私は)?(?:ai|言語モデル|人工知能)(?:アシスタント|モデル)?(?:として|なので|です)|"
    r"画像が(?:提供|添付|アップロード)されて|"
    r"画像を(?:見る|確認する|認識する)ことが?(?:でき|出来)|(?:저는 )?(?:ai|인공지능|"
    r"언어 모델)(?:로서|이므로|이기|입니다)|"
    r"이미지(?:를|가) (?:볼 수|제공되지|첨부되지)|(?:मैं|मुझे) .{0,40}(?:देख|पहचान|"
    r"वर्णन) .{0,12}(?:नहीं|असमर्थ)|"
    r"(?:ฉัน|ผม|ดิฉัน)ไม่สามารถ(?:ระบุ|อธิบาย|ช่วย|เห็น|มองเห็น|ดู)"
)
ASKS = re.compile(
    r"\b(?:please|kindly|could you|can you|would you)(?: please)? (?:re-?)?(?:upload|provide|"
    r"attach|share|"
    r"send|resend|supply)\b[^\"“”«»]{0,40}\b(?:image|picture|photo|it again)|请(?:上传|提供|"
    r"发送).{0,8}(?:图|照片)",
    re.IGNORECASE,
)
